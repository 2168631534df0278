from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.chip import load_chip
from imcsim.functional.calibration import calibrated_steps, observe_ranges
from imcsim.functional.forward import ideal_model
from imcsim.functional.tail_counts import sums_per_image
from imcsim.functional.vector_reads import Conductances, vector_layer
from imcsim.kernels.crossbar import column_sum_histogram
from imcsim.mapping import map_network
from imcsim.mapping.slicing import Slicing, slice_weights
from tests.chip.files import ARCH
from tests.functional.test_vector_reads import (
    BINARY,
    OFFSET,
    PAIRS,
    THIRDS,
    WHOLE,
    placed_layer,
    random_inputs,
    settings_of,
)
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_images


def check_counts(
    seed: int,
    channels: int,
    window: int,
    stride: int,
    outputs: int,
    block_rows: int,
    density: float,
    bound: float,
    slicing: Slicing,
) -> None:
    """Above the bounds, a fraction of the largest sum, both count alike; below, nothing."""
    rng = np.random.default_rng(seed)
    placed = placed_layer(channels, (window + 2, window + 3), window, stride, outputs, block_rows)
    planes, largest = len(slicing.planes), block_rows * slicing.max_level
    levels = slice_weights(rng.integers(-127, 128, (placed.rows, outputs)), slicing)
    levels = levels.reshape(placed.rows, -1)
    adc = settings_of([16] * planes, slicing, largest, True)
    ones = np.ones(placed.rows, np.int64)
    fast = vector_layer(placed, slicing, Conductances(levels), ones, adc)
    assert fast is not None
    inputs = random_inputs(rng, placed, density)
    bounds = rng.integers(0, int(bound * largest) + 1, planes)
    found, expected = np.zeros((2, placed.row_blocks, planes, largest + 1), np.int64)
    fast.count_above(inputs, bounds, slicing.max_level, found)
    column_sum_histogram(
        inputs, placed.layer.input_bits, (window, window), stride, block_rows, levels, planes,
        expected, np.zeros(levels.shape[1], np.uint32),
    )  # fmt: skip
    np.testing.assert_array_equal(
        expected.sum(axis=-1), len(inputs) * sums_per_image(placed), strict=False
    )
    for plane, limit in enumerate(bounds):
        expected[:, plane, : limit + 1] = 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.needs_jit
@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3, 8, 16, 24]),
    window=st.integers(1, 4),
    stride=st.integers(1, 3),
    outputs=st.sampled_from([1, 5, 33, 64, 70, 130]),
    block_rows=st.sampled_from([8, 16, 24, 33, 64]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    bound=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    slicing=st.sampled_from([OFFSET, PAIRS, WHOLE, BINARY, THIRDS]),
)
def test_sums_above_a_bound_are_counted_as_the_plain_kernel_counts_them(
    seed: int,
    channels: int,
    window: int,
    stride: int,
    outputs: int,
    block_rows: int,
    density: float,
    bound: float,
    slicing: Slicing,
) -> None:
    check_counts(seed, channels, window, stride, outputs, block_rows, density, bound, slicing)


@pytest.mark.parametrize("slicing", [OFFSET, WHOLE])
@pytest.mark.parametrize(
    ("channels", "window", "stride", "block_rows"), [(16, 3, 1, 16), (3, 2, 2, 16), (20, 1, 1, 16)]
)
def test_small_layers_too(
    channels: int, window: int, stride: int, block_rows: int, slicing: Slicing
) -> None:
    """Without compilation, as well."""
    check_counts(1, channels, window, stride, 3, block_rows, 0.7, 0.5, slicing)


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_steps_are_those_of_whole_histograms(name: str, signed_weights: str) -> None:
    network = SMALL_NETWORKS[name](seed=21)
    keys = {"crossbar.rows": 16, "crossbar.cols": 16, "mapping.signed_weights": signed_weights}
    images = random_images(network, 3)
    ranges = observe_ranges(map_network(network, rram64(keys)), images, network.timesteps)
    for bits, percentile, jobs in ((1, 100.0, 2), (3, 99.0, 1), (2, 30.0, 3)):
        chip = rram64(keys | {"adc.bits": bits, "adc.percentile": percentile})
        found = calibrated_steps(map_network(network, chip), images, network.timesteps, jobs)
        expected = ranges.steps(bits, percentile)
        assert {i: s.tolist() for i, s in found.items()} == {
            i: s.tolist() for i, s in expected.items()
        }


@pytest.mark.parametrize(
    "overrides",
    [
        {"adc.gain_sigma": 0.1, "adc.offset_sigma_levels": 2.0},
        {"adc.noise_sigma_levels": 1.0},
        {"device.nonidealities": [{"model": "read_noise", "sigma": 0.1}]},
    ],
)
def test_errors_and_noise_do_not_keep_a_chip_from_fast_calibration(
    overrides: dict[str, Any],
) -> None:
    """Ranges are those of an ideal copy."""
    network = max_pool_network(seed=22)
    images = random_images(network, 3)
    noisy = map_network(network, load_chip(ARCH / "rram64.yaml", {"adc.bits": 3} | overrides))
    plain = map_network(network, rram64({"adc.bits": 3}))
    assert all(ideal_model(noisy).vectors.values())
    found, expected = (calibrated_steps(m, images, 3) for m in (noisy, plain))
    assert {i: s.tolist() for i, s in found.items()} == {i: s.tolist() for i, s in expected.items()}


@pytest.mark.needs_jit
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    bits=st.integers(1, 6),
    percentile=st.floats(0.01, 100),
    images=st.integers(1, 20),
    jobs=st.integers(1, 3),
)
def test_no_percentile_or_number_of_workers_moves_a_step(
    seed: int, bits: int, percentile: float, images: int, jobs: int
) -> None:
    network = max_pool_network(seed=seed)
    chip = rram64({"adc.bits": bits, "adc.percentile": percentile})
    mapping, pixels = map_network(network, chip), random_images(network, images, seed)
    found = calibrated_steps(mapping, pixels, 2, jobs)
    expected = observe_ranges(mapping, pixels, 2).steps(bits, percentile)
    assert {i: s.tolist() for i, s in found.items()} == {i: s.tolist() for i, s in expected.items()}
