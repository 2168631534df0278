"""Row orders, slices, reference columns, precisions and partial reads: where they put what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.mapping import LayerMapping, map_network, slice_weights, slicing_of
from imcsim.mapping.placement import crossbar_sum_bits, largest_code
from imcsim.mapping.slicing import check_weights
from imcsim.network.layers import Network
from tests.mapping.chips import rram64
from tests.mapping.networks import vgg16
from tests.small_networks import (
    avg_pool_network,
    conv,
    linear,
    max_pool_network,
    random_network,
    residual_network,
)

WIDE = {"chip.mesh_columns": 64, "chip.mesh_rows": 64}
CODINGS = ["offset", "offset_column", "differential"]


def placed(network: Network, **overrides: Any) -> tuple[LayerMapping, ...]:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return map_network(network, rram64(WIDE | named)).layers


# Row orders


def test_flat_rows_are_the_columns_of_an_unfolded_weight() -> None:
    for m in placed(residual_network(), mapping__row_order="flat"):
        assert m.layer.weight is not None
        unfolded = m.layer.weight.reshape(m.c_out, -1).T  # rows (c·k_h + ky)·k_w + kx
        np.testing.assert_array_equal(m.layer.matrix[m.matrix_rows], unfolded)


@pytest.mark.parametrize("row_order", ["channel", "position"])
def test_other_orders_leave_the_matrix_as_it_is(row_order: str) -> None:
    for m in placed(residual_network(), mapping__row_order=row_order):
        assert m.matrix_rows.tolist() == list(range(m.rows))


def test_a_kernel_position_never_shares_a_crossbar() -> None:
    network = random_network([conv("c", -1, 6), linear("fc", 0, 2)], (40, 5, 5))
    first, _ = placed(network, mapping__row_order="position", crossbar__rows=16)
    # 40 channels in blocks of 16, 16 and 8, nine times over.
    assert first.block_rows.tolist() == [16, 16, 8] * 9
    assert first.row_starts[3] == 40
    channel, _ = placed(network, crossbar__rows=16)
    assert channel.block_rows.tolist() == [16] * 22 + [8]


def test_channels_that_fill_crossbars_are_cut_alike_by_position() -> None:
    # VGG-16 with 64 rows: only the image's three channels stand otherwise.
    by_channel, by_position = (
        map_network(vgg16(), rram64(WIDE | {"mapping.row_order": order}))
        for order in ("channel", "position")
    )
    assert by_position.layers[0].row_blocks == 9
    for one, other in zip(by_channel.layers[1:], by_position.layers[1:], strict=True):
        assert one.row_starts == other.row_starts


@pytest.mark.parametrize("size", [16, 32, 128, 256, 512])
def test_crossbars_of_every_size_hold_the_whole_matrix(size: int) -> None:
    for order in ("channel", "flat", "position"):
        for m in placed(vgg16(), mapping__row_order=order, crossbar__rows=size,
                        crossbar__cols=size, tile__buffer_bytes=1 << 20,
                        pe__buffer_bytes=1 << 20):  # fmt: skip
            assert m.block_rows.sum() == m.rows
            assert 1 <= m.block_rows.min() <= m.block_rows.max() <= size
            assert m.weights_per_crossbar == size // 2
            assert m.crossbars == m.row_blocks * -(-m.c_out // (size // 2))


# Slices and reference columns


@pytest.mark.parametrize("slices", ["adjacent", "separate"])
@pytest.mark.parametrize("signed_weights", CODINGS)
@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_outputs_and_inputs_equal_a_walk_over_the_cells(
    bits: int, signed_weights: str, slices: str
) -> None:
    """Place every output's cells one after the other, crossbar by crossbar."""
    chip = rram64(
        WIDE | {
            "device.bits": bits, "mapping.signed_weights": signed_weights, "crossbar.rows": 16,
            "mapping.slices": slices, "crossbar.cols": 16, "pe.crossbars": 3, "tile.pes": 2,
        }
    )  # fmt: skip
    for m in map_network(residual_network(), chip).layers:
        kinds = slicing_of(chip).planes
        groups = [kinds]
        if slices == "separate":
            shifts = sorted({p.shift for p in kinds}, reverse=True)
            groups = [tuple(p for p in kinds if p.shift == shift) for shift in shifts]
        reference = signed_weights == "offset_column"
        crossbars: list[tuple[set[int], int]] = []  # outputs, rows
        outputs = list(range(m.c_out))
        while outputs:
            room = 16 // len(groups[0]) - reference
            here, outputs = outputs[:room], outputs[room:]
            for _ in groups:
                crossbars += [(set(here), rows) for rows in m.block_rows.tolist()]
        assert len(crossbars) == m.crossbars
        assert m.crossbar_outputs.tolist() == [len(held) for held, _ in crossbars]
        for pe in range(m.pes):
            members = range(3 * pe, min(3 * pe + 3, len(crossbars)))
            blocks = {c % m.row_blocks: crossbars[c][1] for c in members}
            assert m.pe_outputs[pe] == len(set().union(*(crossbars[c][0] for c in members)))
            assert m.pe_rows[pe] == sum(blocks.values())
        for tile in range(m.tiles):
            members = range(6 * tile, min(6 * tile + 6, len(crossbars)))
            assert m.tile_outputs[tile] == len(set().union(*(crossbars[c][0] for c in members)))


def test_a_reference_column_takes_the_room_of_one_weight() -> None:
    plain = placed(vgg16())
    with_reference = placed(vgg16(), mapping__signed_weights="offset_column")
    assert [m.weights_per_crossbar for m in with_reference] == [31] * 14
    # 64 outputs take three crossbars side by side instead of two, 512 outputs 17 instead of 16.
    assert [m.col_blocks for m in with_reference] == [3, 3, 5, 5, 9, 9, 9, *[17] * 6, 1]
    assert [m.col_blocks for m in plain] == [2, 2, 4, 4, 8, 8, 8, *[16] * 6, 1]


def test_slices_of_their_own_fill_as_many_crossbars_where_nothing_is_left_over() -> None:
    for one, other in zip(placed(vgg16()), placed(vgg16(), mapping__slices="separate"),
                          strict=True):  # fmt: skip
        assert other.weights_per_crossbar == 64
        assert other.arrays_per_weight == 2
        if one.c_out % 64 == 0:
            assert one.crossbars == other.crossbars
    assert other.crossbars == 2 * one.crossbars  # ten classes, half-empty either way


def test_one_slice_is_placed_alike_whatever_slices_says() -> None:
    separate = placed(vgg16(), device__bits=8, mapping__slices="separate")
    for one, other in zip(placed(vgg16(), device__bits=8), separate, strict=True):
        assert (one.crossbars, one.arrays_per_weight) == (other.crossbars, other.arrays_per_weight)


# Precision


@pytest.mark.parametrize("signed_weights", CODINGS)
@pytest.mark.parametrize("weight_bits", range(2, 9))
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_weight_of_every_precision_comes_back_from_its_levels(
    bits: int, weight_bits: int, signed_weights: str
) -> None:
    chip = rram64(
        {
            "device.bits": bits, "mapping.weight_bits": weight_bits,
            "mapping.signed_weights": signed_weights,
        }
    )  # fmt: skip
    slicing = slicing_of(chip)
    limit = 2 ** (weight_bits - 1) - 1
    assert slicing.largest_weight == limit
    weights = np.arange(-limit, limit + 1)[None]
    levels = slice_weights(weights, slicing)
    assert levels.shape[1] == chip.cells_per_weight
    assert levels.max() <= slicing.max_level
    factors = np.array([plane.factor for plane in slicing.planes])
    restored = (levels.astype(int) * factors[:, None]).sum(axis=1) - slicing.stored_offset
    np.testing.assert_array_equal(restored, weights)
    # No bit more than needed: one slice less would not hold the largest stored number.
    stored = weight_bits - (signed_weights == "differential")
    assert slicing.slices == -(-stored // bits)


def test_pairs_are_converted_once_and_other_columns_each() -> None:
    differential = {"mapping.signed_weights": "differential"}
    digital = slicing_of(rram64(differential))
    analog = slicing_of(rram64(differential | {"mapping.subtract": "analog"}))
    assert digital.conversions == digital.planes == analog.planes
    assert [plane.factor for plane in analog.conversions] == [16, 1]


def test_weights_that_do_not_fit_are_refused_with_the_layer_and_the_largest() -> None:
    network = max_pool_network()
    weight = np.clip(network.layers[2].weight, -20, 20)  # type: ignore[arg-type]
    weight[3, 1, 2, 0] = -77
    layers = list(network.layers)
    layers[0] = replace(layers[0], weight=np.clip(layers[0].weight, -7, 7))  # type: ignore[arg-type]
    layers[2] = replace(layers[2], weight=weight)
    with pytest.raises(MappingError) as caught:
        map_network(replace(network, layers=tuple(layers)), rram64({"mapping.weight_bits": 7}))
    assert str(caught.value) == (
        "layer conv2 has a weight of -77, mapping.weight_bits 7 holds -63..63 (raise it to 8, or"
        " quantise the network to fewer bits)"
    )
    assert caught.value.exit_code == 4


def test_the_largest_weight_of_a_precision_fits() -> None:
    network = random_network([linear("fc", -1, 2)], (3, 1, 1))
    weight = np.array([[15, -15, 0], [1, 2, 3]], np.int8)
    whole = replace(network, layers=(replace(network.layers[0], weight=weight),))
    check_weights(whole, slicing_of(rram64({"mapping.weight_bits": 5})))
    with pytest.raises(MappingError, match=r"weight of 15, .* holds -7\.\.7 \(raise it to 5"):
        check_weights(whole, slicing_of(rram64({"mapping.weight_bits": 4})))


def test_narrow_weights_make_narrow_sums() -> None:
    network = random_network([linear("fc", -1, 2)], (64, 1, 1), signed_image=False)
    layers = (replace(network.layers[0], weight=np.ones((2, 64), np.int8)),)
    small = replace(network, layers=layers)
    wide, narrow = (placed(small, mapping__weight_bits=bits)[0] for bits in (8, 4))
    # 64 · 127 · 15 < 2^17 and 64 · 7 · 15 < 2^13, and a sign.
    assert (wide.partial_sum_bits, narrow.partial_sum_bits) == (18, 14)


# Reads


def test_rows_that_are_not_driven_at_once_take_more_reads() -> None:
    plain = placed(avg_pool_network())
    for driven, groups in ((64, 1), (63, 2), (32, 2), (16, 4), (10, 7), (1, 64)):
        for one, other in zip(
            plain, placed(avg_pool_network(), crossbar__rows_per_read=driven), strict=True
        ):
            used = min(one.rows, 64)
            assert other.reads_per_bit == -(-used // driven)
            assert other.reads == one.reads * other.reads_per_bit
            if used == 64:
                assert other.reads_per_bit == groups


def test_sums_that_leave_a_crossbar_are_as_wide_as_their_codes_reach() -> None:
    for overrides, largest, signed in (
        ({}, 63 * 17, False),
        ({"crossbar.rows_per_read": 16}, 63 * 17 * 4, False),
        ({"mapping.slices": "separate"}, 63, False),
        ({"mapping.signed_weights": "offset_column"}, 63 * 17, True),
        ({"mapping.signed_weights": "differential", "mapping.subtract": "analog"}, 31 * 17, True),
    ):
        mapping = map_network(vgg16(), rram64(WIDE | {"adc.bits": 6} | overrides))
        m = mapping.layers[1]
        assert crossbar_sum_bits(mapping, m) == largest.bit_length() + signed
        assert largest_code(mapping) == (31 if "mapping.subtract" in overrides else 63)
