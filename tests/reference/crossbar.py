"""Scalar twin of the crossbar kernel, written from its contract: integers and floor division.

ADC steps and accumulators are in sixteenths of a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Read:
    """One layer on one image."""

    out: IntArray
    """(y, x, m): accumulators, in 1/16 LSB."""
    activated: int
    conductance: int
    busy: int


def windows(x: IntArray, window: tuple[int, int], stride: int) -> IntArray:
    """(y, x, rows): what the word lines of each position carry; row = (ky·k_w + kx)·c_in + c."""
    k_h, k_w = window
    height, width = (x.shape[0] - k_h) // stride + 1, (x.shape[1] - k_w) // stride + 1
    result = np.zeros((height, width, k_h * k_w * x.shape[2]), np.int64)
    for oy in range(height):
        for ox in range(width):
            y, left = oy * stride, ox * stride
            result[oy, ox] = x[y : y + k_h, left : left + k_w].reshape(-1)
    return result


def read_layer(
    x: IntArray,
    *,
    bits: int,
    signed: bool,
    window: tuple[int, int],
    stride: int,
    block_rows: int,
    levels: npt.NDArray[np.generic],
    row_conductance: IntArray,
    steps: list[int],
    factors: list[int],
    max_code: int,
    offset: int,
) -> Read:
    """Read every crossbar of a layer for one padded image (h, w, c).

    Parameters
    ----------
    levels : (rows, planes, m), whole levels or float32 conductances in levels.
    steps, factors : per plane, the ADC step in 1/16 level and the worth of one level.
    """
    fed = windows(x, window, stride)
    out = np.zeros((*fed.shape[:2], levels.shape[2]), np.int64)
    activated = conductance = busy = 0
    for oy, ox in np.ndindex(*fed.shape[:2]):
        for bit in range(bits):
            worth = -(2**bit) if signed and bit == bits - 1 else 2**bit
            active = np.flatnonzero(fed[oy, ox] // 2**bit % 2 == 1)
            for start in range(0, len(levels), block_rows):
                block = active[(active >= start) & (active < start + block_rows)]
                busy += len(block) > 0
                for q, (step, factor) in enumerate(zip(steps, factors, strict=True)):
                    out[oy, ox] += worth * factor * step * codes(levels[block, q], step, max_code)
            out[oy, ox] -= worth * offset * 16 * len(active)
            activated += len(active)
            conductance += int(row_conductance[active].sum())
    return Read(out, activated, conductance, busy)


def codes(rows: npt.NDArray[np.generic], step: int, max_code: int) -> IntArray:
    """Codes of the column sums of `rows` (active rows, m): ``min(⌊(p + s/2) / s⌋, max_code)``."""
    if rows.dtype != np.float32:
        sums = rows.astype(np.int64).sum(axis=0)
        return np.minimum((2 * 16 * sums + step) // (2 * step), max_code)
    # One row after the other in single precision: the order is part of the contract.
    total = np.zeros(rows.shape[1], np.float32)
    for row in rows:
        total = total + row
    scaled = (total + np.float32(step / 32)) * np.float32(16 / step)
    return np.floor(np.clip(scaled, 0, max_code)).astype(np.int64)
