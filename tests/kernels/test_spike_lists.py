from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.spike_lists import (
    active_rows,
    compression_table,
    finish_sums,
    gather_windows,
    position_sums,
    spike_lists,
    spike_lists_of_bytes,
)
from tests.reference.crossbar import windows

SHAPES = {
    "seed": st.integers(0, 2**32 - 1),
    "window": st.tuples(st.integers(1, 3), st.integers(1, 4)),
    "stride": st.integers(1, 3),
    "size": st.tuples(st.integers(0, 4), st.integers(0, 4)),
}


def random_inputs(
    seed: int, window: tuple[int, int], size: tuple[int, int], bits: int, signed: bool
) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    drawn = rng.integers(low, high, (2, window[0] + size[0], window[1] + size[1], 5))
    return drawn.astype(np.int8 if signed else np.uint8)


@pytest.mark.parametrize("by_eight", [False, True])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_lists_hold_the_places_of_all_bits_in_order(
    density: float, dtype: Any, by_eight: bool
) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (7, 2, 40)).astype(np.uint8)
    inputs[rng.random(inputs.shape) >= density] = 0
    for bit in range(8):
        index, lists = np.zeros(inputs.size + 8, np.uint8), (2, 7)
        start, count = np.full(lists, 9, np.int32), np.full(lists, 9, np.uint16)
        if by_eight:
            table = compression_table()
            spike_lists_of_bytes(inputs.view(dtype), bit, table, index, start, count)
        else:
            spike_lists(inputs.view(dtype), bit, index, start, count)
        for p, block in np.ndindex(7, 2):
            expected = np.flatnonzero(inputs[p, block] & (1 << bit))
            first, length = start[block, p], count[block, p]
            assert index[first : first + length].tolist() == expected.tolist()


def test_lists_of_more_than_256_word_lines_have_wider_places() -> None:
    inputs = np.zeros((2, 1, 1000), np.uint8)
    inputs[0, 0, [3, 500, 999]] = 1
    inputs[1] = 1
    index = np.zeros(inputs.size + 8, np.uint16)
    start, count = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.uint16)
    spike_lists(inputs, 0, index, start, count)
    assert count.tolist() == [[3, 1000]]
    assert start.tolist() == [[0, 3]]
    assert index[:1003].tolist() == [3, 500, 999, *range(1000)]


@settings(max_examples=50)
@given(bits=st.sampled_from([(1, False), (3, False), (8, True)]), **SHAPES)
def test_activations_are_counted_over_all_windows(
    seed: int,
    window: tuple[int, int],
    stride: int,
    size: tuple[int, int],
    bits: tuple[int, bool],
) -> None:
    inputs = random_inputs(seed, window, size, *bits)
    fed = [windows(image.astype(np.int64), window, stride) for image in inputs]
    counts = np.full((2, fed[0].shape[2]), 9, np.int64)
    active_rows(inputs, bits[0], window, stride, fed[0].shape[:2], counts)
    for found, values in zip(counts, fed, strict=True):
        expected = sum((values >> bit & 1).sum(axis=(0, 1)) for bit in range(bits[0]))
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=50)
@given(**SHAPES)
def test_gathered_windows_hold_the_rows_in_order(
    seed: int, window: tuple[int, int], stride: int, size: tuple[int, int]
) -> None:
    inputs = random_inputs(seed, window, size, 8, True)
    fed = np.stack([windows(image.astype(np.int64), window, stride) for image in inputs])
    gathered = np.zeros((*fed.shape[:3], fed.shape[3] + 3), np.int8)
    gather_windows(inputs, window, stride, gathered)
    np.testing.assert_array_equal(gathered[..., :-3], fed)
    assert not gathered[..., -3:].any()


def test_positions_add_up_their_bits_and_busy_reads() -> None:
    # Two blocks, one image, two lines.
    count = np.array([[[[2, 0], [1, 0]]], [[[0, 0], [3, 4]]]], np.uint16)
    values, busy = np.ones((1, 2, 2), np.int32), np.zeros(1, np.int64)
    uses_y, uses_x = np.array([1, 2]), np.array([3, 1])
    position_sums(count, uses_y, uses_x, -4, values, busy)
    assert values.tolist() == [[[1 - 8, 1], [1 - 16, 1 - 16]]]
    # Three uses of one list, six of two, two of one.
    assert busy.tolist() == [3 + 12 + 2]


@settings(max_examples=50)
@given(offset=st.sampled_from([0, 2048]), **SHAPES)
def test_sums_are_corrected_by_their_window_and_rounded_once(
    seed: int, window: tuple[int, int], stride: int, size: tuple[int, int], offset: int
) -> None:
    inputs = random_inputs(seed, window, size, 3, True)
    fed = np.stack([windows(image.astype(np.int64), window, stride) for image in inputs])
    out = np.random.default_rng(seed).integers(-9999, 9999, (*fed.shape[:3], 4)).astype(np.int32)
    expected = np.floor((out - offset * fed.sum(axis=-1)[..., None]) / 16 + 0.5)
    values = inputs.sum(axis=-1, dtype=np.int32)
    finish_sums(values, window, stride, offset, 4, out)
    np.testing.assert_array_equal(out, expected)
