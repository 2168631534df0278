"""How a layer's word lines, columns and converters are laid out for the vector kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import ONE_LEVEL
from imcsim.mapping import LayerMapping

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Converter:
    """``code = min(((p + bias)·multiplier) >> 16 >> shift, max_code)``.

    A multiplier of 0 stands for 1.
    """

    bias: int
    multiplier: int
    shift: int


def converter(step: int, largest: int, max_code: int) -> Converter | None:
    """Constants that give ``min(⌊(p + s/2) / s⌋, max_code)`` for every whole p in 0..`largest`.

    Parameters
    ----------
    step : s in sixteenths of the unit of p.
    largest, max_code : range of p, and of the codes.

    Returns
    -------
    Converter or None
        Checked at both sides of every threshold; None if 16 bits are too few.
    """
    if step == ONE_LEVEL:
        return Converter(0, 0, 0)
    reached = (2 * ONE_LEVEL * largest + step) // (2 * step)
    code = np.arange(1, min(reached, max_code) + 1, dtype=np.int64)
    first = -(-(2 * code - 1) * step // (2 * ONE_LEVEL))
    last = first - 1
    if reached < max_code:
        # Nothing may reach the code after the last one either.
        last = np.append(last, largest)
    bound = np.arange(1, len(last) + 1, dtype=np.int64)
    for bias in (step // (2 * ONE_LEVEL), step // (2 * ONE_LEVEL) + 1):
        below = last + bias > 0
        for shift in range(15):
            one = 1 << (16 + shift)
            low = int((-(-code * one // (first + bias))).max(initial=1))
            highest = (bound[below] * one - 1) // (last + bias)[below]
            high = int(highest.min(initial=(1 << 16) - 1))
            if low <= high and largest + bias < 1 << 16:
                return Converter(bias, low, shift)
    return None


@dataclass(frozen=True)
class Shape:
    """How a layer's windows become lists: each list feeds `kernel` positions of the output."""

    kernel: tuple[int, int]
    stride: int
    channels: int
    block_rows: int
    out: tuple[int, int]
    gathered: bool
    """Each window is a position of its own, since blocks of word lines span kernel positions."""

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block_rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the padded input that windows cover."""
        if self.gathered:
            return self.out
        (k_h, k_w), (height, width) = self.kernel, self.out
        return (height - 1) * self.stride + k_h, (width - 1) * self.stride + k_w

    def slots(self) -> Indices:
        """Kernel columns in the order they are stored: those that one position feeds stand side
        by side."""
        kx = np.arange(self.kernel[1])
        return np.lexsort((kx, kx % self.stride))

    def feeds(self) -> tuple[Indices, Indices, Indices]:
        """First slot, number of slots and first window of each input column, int64 (w,)."""
        width, slots = self.size[1], self.slots()
        first, number, window = (np.zeros(width, np.int64) for _ in range(3))
        for x in range(width):
            fits = (
                ((x - slots) % self.stride == 0)
                & (slots <= x)
                & ((x - slots) // self.stride < self.out[1])
            )
            places = np.flatnonzero(fits)
            if len(places):
                first[x], number[x] = places[0], len(places)
                window[x] = (x - slots[places[0]]) // self.stride
        return first, number, window

    def uses(self) -> tuple[Indices, Indices]:
        """Windows that cover each input row and column."""
        covered = []
        for size, kernel, out in zip(self.size, self.kernel, self.out, strict=True):
            line = np.zeros(size, np.int64)
            for k in range(kernel):
                line[k : k + (out - 1) * self.stride + 1 : self.stride] += 1
            covered.append(line)
        return covered[0], covered[1]


def shape_of(placed: LayerMapping) -> Shape:
    """Lists of one position where blocks of word lines do not span several, else of windows."""
    layer = placed.layer
    _, out_h, out_w = layer.output_shape
    k_h, k_w = layer.window
    channels, rows = layer.input_shape[0], placed.crossbar_rows
    if (k_h, k_w) == (1, 1) or channels % rows == 0:
        return Shape((k_h, k_w), layer.stride, channels, min(rows, channels), (out_h, out_w), False)
    everything = k_h * k_w * channels
    block = rows if rows < everything else -(-everything // 8) * 8
    return Shape((1, 1), 1, everything, block, (out_h, out_w), True)


@dataclass(frozen=True)
class Tiles:
    """Which columns stand in which half of which tile: `lanes` outputs, plane by plane."""

    lanes: int
    planes: int
    outputs: int

    @property
    def halves(self) -> list[tuple[int, int]]:
        """(plane, first output) of each half in use."""
        firsts = range(0, self.outputs, self.lanes)
        return [(plane, first) for first in firsts for plane in range(self.planes)]

    @property
    def count(self) -> int:
        return -(-len(self.halves) // 2)

    def of_halves(self, per_plane: Any) -> Array:
        """(tiles, 2) of a value per plane; 0 in a half that is not in use."""
        values = np.asarray(per_plane)
        result = np.zeros(2 * self.count, values.dtype)
        result[: len(self.halves)] = [values[plane] for plane, _ in self.halves]
        return result.reshape(-1, 2)

    def places(self) -> tuple[Indices, Indices]:
        """First output and number of outputs of each half, int64 (tiles, 2)."""
        first, width = (np.zeros(2 * self.count, np.int64) for _ in range(2))
        for i, (_, start) in enumerate(self.halves):
            first[i], width[i] = start, min(self.lanes, self.outputs - start)
        return first.reshape(-1, 2), width.reshape(-1, 2)

    def packed(self, cells: Array, shape: Shape) -> Array:
        """Copy cells (rows, planes · m) tile by tile, 64-byte aligned: see `read_tiles`."""
        k_h, k_w = shape.kernel
        full = shape.blocks * shape.block_rows
        by_row = cells.reshape(k_h, k_w, shape.channels, -1)[:, shape.slots()]
        if full > shape.channels:
            by_row = np.pad(by_row, ((0, 0), (0, 0), (0, full - shape.channels), (0, 0)))
        by_row = by_row.reshape(k_h, k_w, shape.blocks, shape.block_rows, -1)
        by_row = by_row.transpose(2, 0, 3, 1, 4)
        result = zeros((self.count, *by_row.shape[:4], 2, self.lanes), cells.dtype)
        for i, (plane, first) in enumerate(self.halves):
            width = min(self.lanes, self.outputs - first)
            start = plane * self.outputs + first
            result[i // 2, ..., i % 2, :width] = by_row[..., start : start + width]
        if cells.dtype == np.uint16:
            low, high = result[..., 0, :], result[..., 1, :]
            return _aligned((low | (high << 8)).reshape(-1))
        if cells.dtype == np.uint8:
            return _aligned(result.swapaxes(-1, -2).reshape(-1))
        return result.reshape(-1)


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Zeros on a 64-byte boundary."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _aligned(values: Array) -> Array:
    copy = zeros(values.shape, values.dtype)
    copy[...] = values
    return copy
