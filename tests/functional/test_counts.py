from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imcsim.activity import FIXED_ACTIONS
from imcsim.functional.counts import fixed_counts
from imcsim.mapping import Mapping, map_network
from tests.mapping.chips import rram64
from tests.small_networks import (
    SMALL_NETWORKS,
    avg_pool_network,
    events_network,
    max_pool_network,
    residual_network,
)

SMALL: dict[str, Any] = {
    "crossbar.rows": 16,
    "crossbar.cols": 8,
    "pe.crossbars": 2,
    "tile.pes": 2,
    "adc.bits": 6,
}


def named(row: np.ndarray) -> dict[str, int]:
    """The actions that occur."""
    return {a: int(n) for a, n in zip(FIXED_ACTIONS, row, strict=True) if n}


@pytest.fixture(scope="module")
def by_hand() -> tuple[Mapping, np.ndarray, np.ndarray]:
    mapping = map_network(max_pool_network(), rram64(SMALL))
    return mapping, *fixed_counts(mapping)


def test_a_convolution_on_two_tiles_by_hand(
    by_hand: tuple[Mapping, np.ndarray, np.ndarray],
) -> None:
    """conv2: 45 rows (5 channels, 3×3) and 7 outputs, 9 windows, one-bit inputs.

    Row blocks of 16, 16 and 13; columns of 4 and 3 weights: 6 crossbars in 3 PEs, tiles 1 and 2.
    PE 0 has both first blocks of the left columns: 32 rows, 4 sums. PE 1 has the last one of the
    left and the first of the right columns: 13 + 16 rows, 7 sums. PE 2 has the rest: 29 rows, 3
    sums. A sum of 45 weights is 14 bits wide, one of codes (63·17 = 1071) 11.
    """
    mapping, once, step = by_hand
    assert (mapping.layers[1].first_tile, mapping.layers[1].tiles) == (1, 2)
    assert named(step[2]) == {
        "crossbar_read": 9 * 6,
        "shift_add": 9 * 6 * 8,
        "popcount_bit": 9 * 90,
        "pe_add_bit": 9 * 3 * 7 * 14,
        "tile_add_bit": 9 * (4 + 7 + 3) * 14,
        "global_add_bit": 9 * (7 + 3) * 14,
        "pe_buffer_write_bit": 9 * 90,
        "pe_buffer_read_bit": 9 * 90,
        "tile_buffer_write_bit": 9 * 5 * 2,
        "tile_buffer_read_bit": 9 * 90,
        "pe_htree_bit": 9 * (45 * 2 + 3 * 7 * 11),
        "tile_htree_bit": 9 * (90 + 14 * 14),
        # 45 bits from tile 0 to tiles 1 and 2; 3 sums per window from tile 2 to tile 1.
        "link_bit": 45 * (1 + 2) + 9 * 3 * 14,
        "router_bit": 45 * (2 + 3) + 9 * 3 * 14 * 2,
        "lif_update": 63,
        "membrane_read_bit": 63 * 16,
        "membrane_write_bit": 63 * 16,
    }
    assert named(once[2]) == {"membrane_write_bit": 63 * 16}


def test_the_first_layer_loads_and_reads_the_image_by_hand(
    by_hand: tuple[Mapping, np.ndarray, np.ndarray],
) -> None:
    """conv1: 18 rows (2 channels) and 5 outputs, 36 windows, 8-bit inputs; 4 crossbars in 2 PEs."""
    _, once, step = by_hand
    assert named(once[0]) == {
        "image_load_bit": 72 * 8,
        "global_buffer_write_bit": 72 * 8,
        "membrane_write_bit": 180 * 16,
    }
    found = named(step[0])
    assert found["crossbar_read"] == 36 * 4 * 8
    assert found["global_buffer_read_bit"] == 72 * 8
    # Each PE takes the two row blocks of one block of columns.
    assert found["pe_buffer_write_bit"] == 36 * 2 * 18 * 8
    # Tile 0 stands at the port: nothing crosses the mesh.
    assert "link_bit" not in found
    assert "router_bit" not in found


def test_pools_and_the_classifier_by_hand(
    by_hand: tuple[Mapping, np.ndarray, np.ndarray],
) -> None:
    _, once, step = by_hand
    assert named(step[1]) == {"pool": 45}
    assert not once[1].any()
    found = named(step[3])
    # 63 spikes from tile 1 to tile 3, 4 scores of 32 bits from tile 3 to tile 0.
    assert found["link_bit"] == 63 * 2 + 128 * 3
    assert found["router_bit"] == 63 * 3 + 128 * 4
    assert found["global_buffer_write_bit"] == found["global_buffer_read_bit"] == 128
    assert "lif_update" not in found
    assert not once[3].any()


def test_residual_adds_are_counted_where_they_happen() -> None:
    network = residual_network()
    mapping = map_network(network, rram64(SMALL))
    _, step = fixed_counts(mapping)
    add = list(FIXED_ACTIONS).index("global_add_bit")
    for index, plain, values in ((2, 1, 4 * 36), (5, None, 6 * 9)):
        m = mapping.of(index)
        own = m.positions * int(m.tile_outputs.sum()) * m.partial_sum_bits
        assert step[index, add] == own + values * 16
        if plain is not None:
            # The plain layer before has the same shape.
            assert step[index, add] - step[plain, add] == values * 16


def test_a_shortcuts_sums_travel_at_their_width_and_spikes_as_bits() -> None:
    mapping = map_network(residual_network(), rram64(SMALL))
    step = fixed_counts(mapping)[1]
    link = list(FIXED_ACTIONS).index("link_bit")
    for index, residual, bits in (
        (2, 0, 4 * 36),
        (5, 4, 6 * 9 * mapping.of(4).partial_sum_bits),
    ):
        m, source = mapping.of(index), mapping.network.layers[index].source
        home = mapping.home(index)
        inputs = int(np.prod(m.layer.input_shape))
        expected = bits * mapping.hops(mapping.home(residual), home)
        for i in range(m.tiles):
            tile = m.first_tile + i
            expected += inputs * mapping.hops(mapping.home(source), tile)
            sums = m.positions * int(m.tile_outputs[i]) * m.partial_sum_bits
            expected += sums * mapping.hops(tile, home)
        assert step[index, link] == expected


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_what_is_written_is_read_and_what_is_read_is_converted(
    name: str, signed_weights: str
) -> None:
    overrides = SMALL | {"mapping.signed_weights": signed_weights}
    mapping = map_network(SMALL_NETWORKS[name](), rram64(overrides))
    for table in fixed_counts(mapping):
        counts = dict(zip(FIXED_ACTIONS, table.T, strict=True))
        np.testing.assert_array_equal(counts["shift_add"], counts["crossbar_read"] * 8)
        np.testing.assert_array_equal(counts["pe_buffer_read_bit"], counts["pe_buffer_write_bit"])
        np.testing.assert_array_equal(counts["pe_buffer_write_bit"], counts["tile_buffer_read_bit"])
        assert (counts["router_bit"] >= counts["link_bit"]).all()
        assert (counts["router_bit"] <= 2 * counts["link_bit"]).all()
        if signed_weights == "differential":
            assert not counts["popcount_bit"].any()
    step = fixed_counts(mapping)[1]
    assert step[:, list(FIXED_ACTIONS).index("crossbar_read")].sum() == mapping.reads


def test_keeping_the_first_layers_currents_moves_its_reads_out_of_the_timestep() -> None:
    network = avg_pool_network()
    every = fixed_counts(map_network(network, rram64(SMALL)))
    kept = SMALL | {"dataflow.first_layer": "once"}
    once = fixed_counts(map_network(network, rram64(kept)))
    read, write, membrane = (
        list(FIXED_ACTIONS).index(a)
        for a in ("current_read_bit", "current_write_bit", "lif_update")
    )
    currents = 4 * 36 * 16
    assert once[0][0, write] == once[1][0, read] == currents
    assert once[1][0, membrane] == every[1][0, membrane] == 144
    # Without the kept currents, one timestep costs the same in both.
    total_every, total_once = every[0] + every[1], once[0] + once[1]
    total_once[0, [read, write]] -= currents
    np.testing.assert_array_equal(total_every, total_once)
    np.testing.assert_array_equal(every[1][1:], once[1][1:])


def test_events_load_a_frame_in_every_timestep() -> None:
    for first_layer in ("every_timestep", "once"):
        chip = rram64(SMALL | {"dataflow.first_layer": first_layer})
        once, step = fixed_counts(map_network(events_network(), chip))
        # 2×6×6 counts of 0..3 in two bits.
        assert named(step[0])["image_load_bit"] == 72 * 2
        assert named(step[0])["global_buffer_write_bit"] == 72 * 2
        assert named(step[0])["global_buffer_read_bit"] == 72 * 2
        assert list(named(once[0])) == ["membrane_write_bit"]
