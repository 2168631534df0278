from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.mapping import Mapping, map_network
from imcsim.mapping.placement import crossbar_sum_bits
from imcsim.network.layers import IMAGE, Network, Neuron
from tests.mapping.chips import rram64
from tests.mapping.networks import resnet19, vgg16, zero_network
from tests.small_networks import (
    avg_pool_network,
    conv,
    events_network,
    linear,
    max_pool_network,
    pool,
    residual_network,
)


@pytest.fixture(scope="module")
def vgg() -> Mapping:
    return map_network(vgg16(), rram64())


def test_vgg16_takes_the_crossbars_of_the_paper_layer_by_layer(vgg: Mapping) -> None:
    crossbars = [2, 18, 36, 72, 144, 288, 288, 576, 1152, 1152, 1152, 1152, 1152, 8]
    tiles = [1, 1, 1, 2, 3, 5, 5, 9, 18, 18, 18, 18, 18, 1]
    assert [m.crossbars for m in vgg.layers] == crossbars
    assert [m.tiles for m in vgg.layers] == tiles
    assert (vgg.crossbars, vgg.tiles) == (7192, 118)


def test_vgg16_makes_the_reads_and_conversions_of_im2col_packing(vgg: Mapping) -> None:
    reads = sum(m.reads_one_bit for m in vgg.layers)
    assert reads == vgg.reads == 154_120
    assert reads * 64 == 9_863_680
    assert sum(layer.neurons for layer in vgg.network.layers) == 276_480


def test_an_eight_bit_image_takes_eight_reads_per_window() -> None:
    mapping = map_network(max_pool_network(), rram64())
    first, rest = mapping.layers[0], mapping.layers[1:]
    assert first.reads == 8 * first.reads_one_bit
    assert all(m.reads == m.reads_one_bit for m in rest)
    counts = map_network(avg_pool_network(), rram64()).layers
    # 0..4 spikes in 3 bits, 0..9 in 4.
    assert [m.reads // m.reads_one_bit for m in counts] == [8, 3, 4]


@pytest.mark.needs_jit  # nothing to compile, but 16 million weights
def test_resnet19_takes_the_crossbars_and_tiles_of_the_same_rule() -> None:
    mapping = map_network(resnet19(), rram64({"lif.membrane_memory_bytes": 4 << 20}))
    assert (mapping.crossbars, mapping.tiles) == (6140, 107)


def test_differential_weights_take_twice_the_columns(vgg: Mapping) -> None:
    large = {"chip.mesh_columns": 16, "chip.mesh_rows": 16}
    chip = rram64({"mapping.signed_weights": "differential"} | large)
    doubled = map_network(vgg.network, chip)
    for single, double in zip(vgg.layers[:-1], doubled.layers, strict=False):
        assert double.crossbars == 2 * single.crossbars
    # The classifier's 10 weights fit one crossbar either way.
    assert doubled.layers[-1].crossbars == vgg.layers[-1].crossbars


def test_layers_start_on_new_tiles_in_order(vgg: Mapping) -> None:
    for before, after in pairwise(vgg.layers):
        assert after.first_tile == before.first_tile + before.tiles


def test_consecutive_tiles_are_neighbours_and_no_node_is_used_twice(vgg: Mapping) -> None:
    nodes = [vgg.node(tile) for tile in range(vgg.chip.tiles)]
    assert len(set(nodes)) == len(nodes)
    assert all(0 <= x < 11 and 0 <= y < 11 for x, y in nodes)
    assert all(vgg.hops(tile, tile + 1) == 1 for tile in range(len(nodes) - 1))


def test_hops_are_the_manhattan_distance(vgg: Mapping) -> None:
    # Row 1 runs backwards: tile 11 stands below tile 10, tile 21 below tile 0.
    assert [vgg.node(tile) for tile in (0, 10, 11, 21, 22)] == [
        (0, 0), (10, 0), (10, 1), (0, 1), (0, 2),
    ]  # fmt: skip
    assert [vgg.hops(0, tile) for tile in (0, 10, 11, 21, 22)] == [0, 10, 11, 1, 2]
    assert vgg.hops(5, 30) == vgg.hops(30, 5)


def test_a_pool_lives_where_its_source_does_and_the_image_at_tile_zero(vgg: Mapping) -> None:
    assert vgg.home(IMAGE) == 0
    for index, layer in enumerate(vgg.network.layers):
        if layer.is_pool:
            assert vgg.home(index) == vgg.home(layer.source) == vgg.of(layer.source).first_tile


def test_a_pool_of_the_image_lives_at_tile_zero() -> None:
    specs = [pool("pool", -1, "max_pool"), conv("conv", 0, 4), linear("fc", 1, 3)]
    mapping = map_network(zero_network("pooled", specs, (2, 6, 6)), rram64())
    assert mapping.home(0) == 0


@pytest.mark.parametrize("rows", [16, 33, 64])
@pytest.mark.parametrize("pes", [(2, 1), (3, 2), (16, 4)])
def test_outputs_and_inputs_of_pes_and_tiles_equal_a_walk_over_the_crossbars(
    rows: int, pes: tuple[int, int]
) -> None:
    chip = rram64(
        {"crossbar.rows": rows, "crossbar.cols": 16, "pe.crossbars": pes[0], "tile.pes": pes[1]}
    )
    for m in map_network(residual_network(), chip).layers:
        outputs_of_pe: dict[int, set[int]] = {}
        outputs_of_tile: dict[int, set[int]] = {}
        inputs_of_pe: dict[int, set[int]] = {}
        crossbar = 0
        for left in range(0, m.c_out, 16 // 2):
            for top in range(0, m.rows, rows):
                pe = crossbar // pes[0]
                outputs = set(range(left, min(left + 8, m.c_out)))
                outputs_of_pe.setdefault(pe, set()).update(outputs)
                outputs_of_tile.setdefault(pe // pes[1], set()).update(outputs)
                inputs_of_pe.setdefault(pe, set()).update(range(top, min(top + rows, m.rows)))
                crossbar += 1
        assert (m.crossbars, m.pes, m.tiles) == (crossbar, len(outputs_of_pe), len(outputs_of_tile))
        assert m.pe_outputs.tolist() == [len(outputs_of_pe[i]) for i in range(m.pes)]
        assert m.tile_outputs.tolist() == [len(outputs_of_tile[i]) for i in range(m.tiles)]
        assert m.pe_rows.tolist() == [len(inputs_of_pe[i]) for i in range(m.pes)]


def test_a_crossbar_holds_whole_weights_only() -> None:
    # 33 columns hold 16 weights of two cells; 48 hold 24.
    for cols, blocks in ((33, 4), (48, 3)):
        chip = rram64({"crossbar.cols": cols})
        mapping = map_network(vgg16_first(), chip)
        assert mapping.layers[0].col_blocks == blocks


def vgg16_first() -> Network:
    return zero_network("first", [conv("conv1", -1, 64), linear("fc", 0, 4)], (3, 8, 8))


def test_utilisation_is_the_share_of_cells_that_hold_a_weight(vgg: Mapping) -> None:
    assert vgg.layers[0].utilisation == pytest.approx(27 / 64)
    assert vgg.layers[1].utilisation == 1.0
    assert vgg.layers[-1].utilisation == pytest.approx(20 / 64)


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_widths_hold_the_largest_sums(bits: int, signed_weights: str) -> None:
    chip = rram64({"device.bits": bits, "mapping.signed_weights": signed_weights, "adc.bits": 6})
    mapping = map_network(avg_pool_network(), chip)
    for m in mapping.layers:
        largest = m.rows * 127 * max(-m.layer.input_min, m.layer.input_max)
        assert 2 ** (m.partial_sum_bits - 1) > largest >= 2 ** (m.partial_sum_bits - 2)
        codes = sum(63 * 2**p.shift for p in mapping.slicing.planes if p.sign > 0)
        codes *= 2**m.layer.input_bits - 1
        signed = m.layer.input_signed or signed_weights == "differential"
        width = crossbar_sum_bits(mapping, m) - signed
        assert 2**width > codes >= 2 ** (width - 1)


def refused(network: Network, overrides: dict[str, Any]) -> str:
    with pytest.raises(MappingError) as caught:
        map_network(network, rram64(overrides))
    return str(caught.value)


def test_too_few_tiles_are_refused_with_the_layer_that_finds_none() -> None:
    overrides = {"chip.mesh_columns": 3, "chip.mesh_rows": 1, "crossbar.rows": 16}
    overrides |= {"crossbar.cols": 16, "pe.crossbars": 2, "tile.pes": 1}
    # conv1: 18 rows on 2 crossbars; conv2: 45 rows on 3; fc: 63 rows on 4.
    assert refused(max_pool_network(), overrides) == (
        "layer fc needs 2 tiles, 0 of 3 are left on rram64; tiny needs 5 in all "
        "(raise chip.mesh_columns or chip.mesh_rows)"
    )


def test_membranes_that_are_too_narrow_are_refused() -> None:
    assert refused(max_pool_network(), {"lif.membrane_bits": 12}) == (
        "tiny needs 16-bit membranes, rram64 has 12 bits "
        "(raise lif.membrane_bits or quantise the network again)"
    )
    narrow = Neuron(1, 1, "hard", 4, 12)
    assert (
        map_network(max_pool_network(neuron=narrow), rram64({"lif.membrane_bits": 12})).tiles == 3
    )


def test_a_membrane_memory_that_is_too_small_is_refused() -> None:
    # 5·36 + 7·9 = 243 neurons of 16 bits
    assert refused(max_pool_network(), {"lif.membrane_memory_bytes": 485}) == (
        "no room for the 243 membranes of tiny: 486 bytes needed, lif.membrane_memory_bytes is 485"
    )


def test_a_current_memory_that_is_too_small_is_refused_where_currents_are_kept() -> None:
    small = {"dataflow.current_memory_bytes": 359}
    assert refused(max_pool_network(), small | {"dataflow.first_layer": "once"}) == (
        "no room for the first layer's currents: 360 bytes needed, "
        "dataflow.current_memory_bytes is 359"
    )
    map_network(max_pool_network(), rram64(small))
    map_network(events_network(), rram64(small | {"dataflow.first_layer": "once"}))


def test_more_classes_than_the_fifo_holds_are_refused() -> None:
    assert refused(max_pool_network(), {"sigma_e.fifo_depth": 3}) == (
        "tiny has 4 classes, the σ-E module's FIFOs hold 3 (raise sigma_e.fifo_depth)"
    )


def test_a_tile_buffer_that_cannot_hold_the_lines_of_a_layer_is_refused() -> None:
    # conv1: 2 lines of 6 pixels and 3 more, 2 bytes each
    assert refused(max_pool_network(), {"tile.buffer_bytes": 29}) == (
        "no room for the input lines of layer conv1: 30 bytes needed, tile.buffer_bytes is 29"
    )
    map_network(max_pool_network(), rram64({"tile.buffer_bytes": 30}))


def test_a_pe_buffer_that_cannot_hold_a_window_is_refused() -> None:
    # fc: 63 rows of one bit are 8 bytes, conv1: 18 of 8 bits 18
    assert refused(max_pool_network(), {"pe.buffer_bytes": 17}) == (
        "no room for one input window of layer conv1: 18 bytes needed, pe.buffer_bytes is 17"
    )


def test_a_global_buffer_that_cannot_hold_an_image_is_refused() -> None:
    assert refused(max_pool_network(), {"chip.global_buffer_bytes": 71}) == (
        "no room for one image: 72 bytes needed, chip.global_buffer_bytes is 71"
    )


def test_the_mapping_knows_its_layers_by_network_index(vgg: Mapping) -> None:
    assert [vgg.of(m.index) for m in vgg.layers] == list(vgg.layers)
    assert np.array([m.positions for m in vgg.layers]).sum() == 2813
