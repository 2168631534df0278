from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.functional.calibration import calibrated_steps, observe_ranges
from imcsim.mapping import LayerMapping, Mapping, map_network, slice_weights
from imcsim.network.layers import IMAGE
from imcsim.network.reference import run_reference
from tests.mapping.chips import rram64
from tests.reference.crossbar import windows
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_images

SMALL = {"crossbar.rows": 16, "crossbar.cols": 16}
Sums = npt.NDArray[np.int64]


def column_sums(mapping: Mapping, images: npt.NDArray[np.uint8]) -> dict[int, list[Sums]]:
    """Every column sum of every read, by layer and row block: (reads, planes, c_out)."""
    network = mapping.network
    outputs = run_reference(network, images, record=True).outputs
    assert outputs is not None
    steps = network.timesteps
    encoded = network.encode(images)
    frames = encoded if network.encoding == "events" else np.stack([encoded] * steps, axis=1)
    return {
        m.index: layer_sums(
            mapping, m, frames if m.layer.source == IMAGE else outputs[m.layer.source]
        )
        for m in mapping.layers
    }


def layer_sums(
    mapping: Mapping, placed: LayerMapping, inputs: npt.NDArray[np.integer]
) -> list[Sums]:
    layer, rows = placed.layer, placed.crossbar_rows
    levels = slice_weights(layer.matrix, mapping.slicing).astype(np.int64)
    pad = layer.padding
    fed = []
    for frame in inputs.reshape(-1, *layer.input_shape).astype(np.int64):
        padded = np.pad(frame, ((0, 0), (pad, pad), (pad, pad))).transpose(1, 2, 0)
        fed.append(windows(padded, layer.window, layer.stride).reshape(-1, placed.rows))
    reads = np.concatenate(fed)
    bits = np.concatenate([reads >> bit & 1 for bit in range(layer.input_bits)])
    return [
        np.tensordot(bits[:, top : top + rows], levels[top : top + rows], axes=1)
        for top in range(0, placed.rows, rows)
    ]


ROUND_EVENLY = [half / 2 for half in range(2, 4000) if half % 4]
"""Half levels without even numbers of levels."""


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_steps_equal_percentiles_of_all_column_sums(name: str, signed_weights: str) -> None:
    network = SMALL_NETWORKS[name](seed=11)
    mapping = map_network(network, rram64(SMALL | {"mapping.signed_weights": signed_weights}))
    images = random_images(network, 3)
    ranges = observe_ranges(mapping, images, network.timesteps)
    sums = column_sums(mapping, images)
    for percentile in (100.0, 99.9, 95.0, 50.0):
        for bits in (1, 4, 8):
            steps = ranges.steps(bits, percentile)
            for index, blocks in sums.items():
                scale = np.max(
                    [
                        np.percentile(
                            block.transpose(1, 0, 2).reshape(block.shape[1], -1), percentile,
                            axis=1, method="inverted_cdf",
                        )
                        for block in blocks
                    ],
                    axis=0,
                )  # fmt: skip
                wanted = np.maximum(scale / (2**bits - 1), 1)
                expected = [min(step for step in ROUND_EVENLY if step >= least) for least in wanted]
                np.testing.assert_array_equal(steps[index] / 16, expected)


def test_more_bits_are_never_coarser_and_a_higher_percentile_never_finer() -> None:
    network = max_pool_network(seed=12)
    mapping = map_network(network, rram64())
    ranges = observe_ranges(mapping, random_images(network, 4), 3)
    for finer, coarser in zip(range(2, 13), range(1, 12), strict=True):
        fine, coarse = ranges.steps(finer, 99.9), ranges.steps(coarser, 99.9)
        assert all((fine[i] <= coarse[i]).all() for i in fine)
    for low, high in ((50, 90), (90, 99.9), (99.9, 100)):
        less, more = ranges.steps(6, low), ranges.steps(6, high)
        assert all((less[i] <= more[i]).all() for i in less)


def test_calibration_does_not_depend_on_the_order_of_its_images() -> None:
    network = max_pool_network(seed=13)
    mapping = map_network(network, rram64())
    images = random_images(network, 20)
    one, other = observe_ranges(mapping, images, 2), observe_ranges(mapping, images[::-1], 2)
    for m in mapping.layers:
        np.testing.assert_array_equal(one.histogram(m.index), other.histogram(m.index))


def test_only_as_many_calibration_images_are_used_as_the_chip_says() -> None:
    network = max_pool_network(seed=14)
    images = random_images(network, 6)
    few = map_network(network, rram64({"adc.calibration_images": 2, "adc.bits": 5}))
    found = calibrated_steps(few, images, 3)
    expected = observe_ranges(few, images[:2], 3).steps(5, few.chip.adc.percentile)
    assert {i: s.tolist() for i, s in found.items()} == {i: s.tolist() for i, s in expected.items()}


def test_ranges_are_those_of_exact_cells() -> None:
    network = max_pool_network(seed=15)
    images = random_images(network, 3)
    exact, noisy = (
        calibrated_steps(map_network(network, rram64({"device.variation": v})), images, 3)
        for v in (0.0, 0.5)
    )
    assert {i: s.tolist() for i, s in exact.items()} == {i: s.tolist() for i, s in noisy.items()}


@pytest.mark.parametrize(
    "overrides",
    [
        {"mapping.row_order": "flat"},
        {"mapping.row_order": "position"},
        {"crossbar.rows_per_read": 5},
        {"mapping.signed_weights": "offset_column"},
        {"device.off_current": "digital"},
        {"mapping.signed_weights": "differential", "mapping.subtract": "analog"},
    ],
)
def test_other_mappings_are_calibrated_on_what_their_converters_see(
    overrides: dict[str, Any],
) -> None:
    network = max_pool_network(seed=16)
    chip = rram64(SMALL | {"device.on_off_ratio": 16.0} | overrides)
    mapping = map_network(network, chip)
    images = random_images(network, 2)
    ranges = observe_ranges(mapping, images, network.timesteps)
    outputs = run_reference(network, images, record=True).outputs
    assert outputs is not None
    encoded = network.encode(images)  # a static image is read once
    for m in mapping.layers:
        inputs = encoded if m.layer.source == IMAGE else outputs[m.layer.source]
        expected = np.zeros_like(ranges.histogram(m.index))
        for block, sizes in enumerate(seen_sizes(mapping, m, inputs)):
            for k in range(len(expected[block])):
                np.add.at(expected[block, k], sizes[:, k].ravel(), 1)
        np.testing.assert_array_equal(ranges.histogram(m.index), expected)


def seen_sizes(
    mapping: Mapping, placed: LayerMapping, inputs: npt.NDArray[np.integer]
) -> list[Sums]:
    """By row block, (reads, conversions, columns): what converters see, word line by word line."""
    layer, pad = placed.layer, placed.layer.padding
    weights = layer.matrix
    if mapping.slicing.has_reference:
        weights = np.hstack([weights, np.zeros((placed.rows, placed.col_blocks), np.int8)])
    levels = slice_weights(weights[placed.matrix_rows], mapping.slicing).astype(np.int64)
    frames = inputs.reshape(-1, *layer.input_shape).astype(np.int64)
    fed = np.concatenate([
        windows(np.pad(f, ((0, 0), (pad, pad), (pad, pad))).transpose(1, 2, 0), layer.window,
                layer.stride).reshape(-1, placed.rows)
        for f in frames
    ])[:, placed.matrix_rows]  # fmt: skip
    bits = np.concatenate([fed >> bit & 1 for bit in range(layer.input_bits)])
    found = []
    for top, rows in zip(placed.row_starts, placed.block_rows, strict=True):
        groups = []
        for first in range(top, top + rows, placed.rows_per_read):
            part = slice(first, min(first + placed.rows_per_read, top + rows))
            sums = np.tensordot(bits[:, part], levels[part], axes=1)
            if mapping.chip.mapping.subtract == "analog":
                sums = np.abs(sums[:, ::2] - sums[:, 1::2])
            elif mapping.chip.device.off_current == "digital":
                # 15 / (16 − 1): one level per active row.
                sums = sums + bits[:, part].sum(axis=1)[:, None, None]
            groups.append(sums)
        found.append(np.concatenate(groups))
    return found
