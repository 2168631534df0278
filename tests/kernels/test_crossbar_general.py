"""The general kernel against what each convention says, written down once more in whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.crossbar_general import any_sum_histogram, read_any_crossbars

Array = npt.NDArray[Any]

pytestmark = pytest.mark.needs_jit


def read(case: dict[str, Any]) -> tuple[Array, Array, Array]:
    """Call the kernel on a drawn case."""
    n, outputs = len(case["inputs"]), len(case["reference"])
    levels, k = case["levels"], len(case["steps"])
    step = np.array(case["steps"])
    real = levels.dtype == np.float32
    exact = not (real or case["offset"].any() or case["is_noisy"])
    shape = (len(case["starts"]) - 1, k, levels.shape[2])
    sums = np.zeros(levels.shape[1:], np.float32 if real else np.int32)
    out = np.full((n, *case["size"], outputs), 99, np.int64)
    weighted = np.full((n, *case["size"]), 99, np.int64)
    counts = np.full((n, 3), 99, np.int64)
    read_any_crossbars(
        case["inputs"], case["bits"], case["signed"], case["lines"], case["stride"],
        np.array(case["starts"]), case["rows_per_read"], levels, case["row_conductance"],
        np.float32(case["pedestal"]), case["pairs"],
        (step / 32 + (exact / 64)).astype(np.float32), (16 / step).astype(np.float32),
        step.astype(np.int64) * np.array(case["factors"]), case["max_code"], case["offset"],
        case["gain"], case["noise"], case["is_noisy"], bool(case["offset"].any()),
        np.float32(0), np.float32(0), np.float32(0), np.zeros((1,) * 6, np.float32),
        np.zeros((0, 1, 1, 1, 1, 1), np.float32), np.zeros(sums.shape, np.int64),
        case["reference"], sums, np.ones(sums.shape, np.float32),
        np.empty(shape[1:], np.int64), out, weighted, counts,
    )  # fmt: skip
    return out, weighted, counts


def code_of(current: Any, step: int, top: int, pairs: bool, real: bool) -> int:
    """``min(⌊|p| / step + 1/2⌋, top)`` with p in levels and step in 1/16 level."""
    size = abs(current) if pairs else current
    if real:
        scaled = (np.float32(size) + np.float32(step / 32)) * np.float32(16 / step)
        code = int(min(max(scaled, np.float32(0)), np.float32(top)))
    else:
        code = min(max(int((32 * size + step) // (2 * step)), 0), top)
    return -code if pairs and current < 0 else code


def twin(case: dict[str, Any]) -> tuple[Array, Array, Array]:
    """One window, bit, group of rows, plane and column after the other."""
    n, outputs, levels = len(case["inputs"]), len(case["reference"]), case["levels"]
    real = levels.dtype == np.float32 or case["offset"].any() or case["is_noisy"]
    out = np.zeros((n, *case["size"], outputs), np.int64)
    weighted, counts = np.zeros((n, *case["size"]), np.int64), np.zeros((n, 3), np.int64)
    for image, oy, ox in np.ndindex(n, *case["size"]):
        y, x, c = case["lines"]
        carried = case["inputs"][image, oy * case["stride"] + y, ox * case["stride"] + x, c]
        for bit in range(case["bits"]):
            worth = 2**bit * (-1 if case["signed"] and bit == case["bits"] - 1 else 1)
            ones = np.flatnonzero(carried.astype(int) // 2**bit % 2)
            reads = iter(case["noise"][oy, ox, bit] if case["is_noisy"] else [])
            for block, (top, end) in enumerate(
                zip(case["starts"], case["starts"][1:], strict=False)
            ):
                for first in range(top, end, case["rows_per_read"]):
                    last = min(first + case["rows_per_read"], end)
                    active = ones[(ones >= first) & (ones < last)]
                    total = np.zeros(levels.shape[1:], np.float32 if real else np.int64)
                    for row in active:
                        total = total + levels[row]
                    p: Array = total[::2] - total[1::2] if case["pairs"] else total
                    if not case["pairs"]:
                        p = p + case["pedestal"] * len(active)
                    if case["offset"].any():
                        p = p.astype(np.float32) * case["gain"][block] + case["offset"][block]
                    if case["is_noisy"]:
                        p = p.astype(np.float32) + next(reads)
                    codes = np.array([
                        [code_of(v, case["steps"][k], case["max_code"], case["pairs"],
                                 real) for v in row]
                        for k, row in enumerate(p)
                    ])  # fmt: skip
                    for j, reference in enumerate(case["reference"]):
                        less = codes[:, reference] if reference >= 0 else 0
                        value = (codes[:, j] - less) * case["factors"] * np.array(case["steps"])
                        out[image, oy, ox, j] += worth * value.sum()
                    weighted[image, oy, ox] += worth * len(active)
                    counts[image] += [
                        len(active), case["row_conductance"][active].sum(), len(active) > 0,
                    ]  # fmt: skip
    return out, weighted, counts


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, bits = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    signed = bits == 3 and draw(st.booleans())
    channels = draw(st.integers(1, 4))
    size = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    noisy = draw(st.booleans())
    n = 1 if noisy else 2
    shape = (n, *((size[i] - 1) * stride + window[i] for i in range(2)), channels)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    inputs = rng.integers(low, high, shape) * (rng.random(shape) < draw(st.sampled_from([0.2, 1])))
    rows = window[0] * window[1] * channels
    order = rng.permutation(rows)
    cuts = sorted(set(rng.integers(1, rows, 2).tolist())) if rows > 1 else []
    pairs, outputs = draw(st.booleans()), draw(st.integers(1, 3))
    references = draw(st.integers(0, outputs)) if not pairs else 0
    stored = outputs + references
    levels: Array = rng.integers(0, 16, (rows, 4 if pairs else 2, stored)).astype(np.uint8)
    if draw(st.booleans()):
        levels = (levels + rng.normal(0, 1, levels.shape)).astype(np.float32)
    blocks = len(cuts) + 1
    errors = draw(st.booleans())
    ideal = np.zeros((blocks, 2, stored), np.float32)
    return {
        "inputs": inputs.astype(np.int8),
        "bits": bits,
        "signed": signed,
        "size": size,
        "stride": stride,
        "lines": np.array(np.unravel_index(order, (*window, channels)), np.int64),
        "starts": [0, *cuts, rows],
        "rows_per_read": draw(st.integers(1, rows)),
        "levels": levels,
        "row_conductance": rng.integers(0, 1000, rows),
        "is_noisy": noisy,
        "noise": rng.normal(0, 2, (*size, bits, 2 * rows, 2, stored)).astype(np.float32),
        "pedestal": draw(st.sampled_from([0.0, 0.5, 1.5])),
        "pairs": pairs,
        "steps": rng.integers(8, 100, 2).tolist(),
        "factors": [16, 1],
        "max_code": draw(st.sampled_from([1, 15, 1023])),
        "offset": rng.normal(0, 2, ideal.shape).astype(np.float32) if errors else ideal,
        "gain": rng.normal(1, 0.1, ideal.shape).astype(np.float32) if errors else ideal + 1,
        "reference": np.array(
            [outputs + j % references if references else -1 for j in range(outputs)]
        ),
    }


@settings(max_examples=150)
@given(case=cases())
def test_the_kernel_equals_its_scalar_twin_bit_for_bit(case: dict[str, Any]) -> None:
    for found, expected in zip(read(case), twin(case), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_histogram_counts_the_size_of_every_current_rounded_up() -> None:
    levels = np.array([[[3, 1], [0, 5]], [[4, 0], [1, 1]]], np.uint8)
    inputs = np.array([[[[1, 1]]], [[[0, 1]]]], np.int8)
    lines = np.array([[0, 0], [0, 0], [0, 1]])

    def sizes(pairs: bool, pedestal: float, rows_per_read: int) -> list[list[int]]:
        histogram = np.zeros((1, 1 if pairs else 2, 12), np.int64)
        any_sum_histogram(
            inputs, 1, lines, 1, np.array([0, 2]), rows_per_read, levels, np.float32(pedestal),
            pairs, np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32), 1, 1, histogram,
        )  # fmt: skip
        return [np.repeat(np.arange(12), kind).tolist() for kind in histogram[0]]

    assert sizes(False, 0.0, 2) == [[0, 1, 4, 7], [1, 1, 1, 6]]
    # 1.5 levels for each active row: 3 where both are.
    assert sizes(False, 1.5, 2) == [[2, 4, 6, 10], [3, 3, 4, 9]]
    # 7 − 1 and 1 − 6; 4 − 1 and 0 − 1. A pair cancels R_off.
    assert sizes(True, 1.5, 2) == [[1, 3, 5, 6]]
    assert sizes(False, 0.0, 1) == [[0, 0, 0, 0, 1, 3, 4, 4], [0, 0, 0, 1, 1, 1, 1, 5]]
