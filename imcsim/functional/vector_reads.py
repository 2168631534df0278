"""One layer's crossbars, laid out for `imcsim.kernels.crossbar_vector`.

Everything here is decided by the layer's shape, its cells and its converters, never by a
stopwatch; the results are those of `imcsim.kernels.crossbar` to the bit. Where there are no such
constants or sums could overflow, `vector_layer` returns None and the plain kernel is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import FRACTION_BITS, ONE_LEVEL, AdcSettings
from imcsim.functional.vector_layout import (
    Array,
    Converter,
    Indices,
    Shape,
    Tiles,
    converter,
    shape_of,
    zeros,
)
from imcsim.mapping import LayerMapping
from imcsim.mapping.slicing import Slicing

COLUMNS = {np.dtype(np.uint8): 128, np.dtype(np.uint16): 64, np.dtype(np.int16): 64,
           np.dtype(np.float32): 32}  # fmt: skip
"""Columns of a tile: three windows' sums of 128 bytes fill the vector registers."""
SHORTEST_SEGMENT = 4
"""Rows that must fit into a byte before summing in bytes is worth it."""
UNREACHED = (1 << 16) - 1
"""No column sum in 16 bits is above this."""
SCRATCH_BYTES = 1 << 18
"""Codes of one tile of the images read together: they stay in the second-level cache."""


@dataclass(frozen=True)
class Conductances:
    """What the cells of a layer hold, for reading by integers.

    A cell's conductance in levels is ``(cells − pedestal) / per_level``.
    """

    cells: Array
    """uint8, int16 or float32 (rows, planes · m)."""
    per_level: int = 1
    pedestal: int = 0


def quantised(levels: Array, per_level: int) -> Conductances:
    """Round conductances to 1/`per_level` of a level.

    Up to 1/8 level they are bytes above a common pedestal, cut off at 255; finer ones signed 16-bit
    integers.
    """
    whole = np.rint(levels * np.float32(per_level)).astype(np.int64)
    if per_level > 8:
        return Conductances(
            np.clip(whole, 1 - (1 << 15), (1 << 15) - 1).astype(np.int16), per_level
        )
    pedestal = max(-int(whole.min(initial=0)), 0)
    return Conductances(np.clip(whole + pedestal, 0, 255).astype(np.uint8), per_level, pedestal)


def vector_layer(
    placed: LayerMapping,
    slicing: Slicing,
    held: Conductances,
    row_conductance: npt.NDArray[np.int64],
    adc: AdcSettings,
) -> VectorLayer | None:
    """Lay a layer out for the vector kernel; None where it does not fit."""
    from imcsim.kernels.spike_lists import compression_table

    shape, planes = shape_of(placed), len(slicing.planes)
    found = _converters(placed, slicing, held, adc)
    if found is None:
        return None
    converters, largest_code = found
    flush_every = ((1 << 16) - 1) // max(shape.kernel[1] * largest_code, 1)
    if flush_every == 0:
        return None
    stored, segment = _stored(held, max(c.bias for c in converters))
    tiles = Tiles(COLUMNS[stored.dtype] // 2, planes, placed.c_out)
    return VectorLayer(
        shape=shape,
        placed=placed,
        row_conductance=row_conductance,
        offset=slicing.offset * ONE_LEVEL,
        tiles=tiles,
        cells=tiles.packed(stored, shape),
        segment=segment,
        pedestal=held.pedestal,
        flush_every=flush_every,
        biases=tiles.of_halves([c.bias for c in converters]),
        multipliers=tiles.of_halves([c.multiplier for c in converters]),
        shifts=tiles.of_halves([c.shift for c in converters]),
        real_biases=tiles.of_halves(adc.bias),
        inverses=tiles.of_halves(adc.inverse_step),
        factors=tiles.of_halves(adc.factor.astype(np.int64)),
        continued=tiles.of_halves(np.arange(planes) > 0),
        top=min(adc.max_code, (1 << 16) - 1),
        feeds=shape.feeds(),
        uses=shape.uses(),
        places=tiles.places(),
        compression=compression_table(),
    )


def _converters(
    placed: LayerMapping, slicing: Slicing, held: Conductances, adc: AdcSettings
) -> tuple[list[Converter], int] | None:
    """Constants of each plane, and the largest code that can occur; None if 16 bits are too few."""
    cells = held.cells
    if cells.dtype == np.float32:
        return [Converter(0, 0, 0)] * len(slicing.planes), adc.max_code
    steps = adc.factor // np.array([p.factor for p in slicing.planes]) * held.per_level
    largest = _largest_sums(cells, placed.crossbar_rows, len(slicing.planes))
    found = [
        converter(int(step), int(top), adc.max_code)
        for step, top in zip(steps, largest, strict=True)
    ]
    converters = [c for c in found if c is not None]
    if len(converters) < len(found):
        return None
    bits = 15 if cells.dtype == np.int16 else 16
    if cells.dtype == np.int16:
        lowest = _largest_sums(-cells, placed.crossbar_rows, len(slicing.planes))
        if lowest.max() >= 1 << bits:
            return None
    if largest.max() + max(c.bias for c in converters) >= 1 << bits:
        return None
    reached = (2 * ONE_LEVEL * largest + steps) // (2 * steps)
    return converters, min(adc.max_code, int(reached.max()))


def _largest_sums(cells: Array, block_rows: int, planes: int) -> Indices:
    """Largest possible sum of a column in any block, per plane; the pedestal is part of it."""
    if cells.dtype != np.uint8:
        cells = np.maximum(cells, 0)
    full = len(cells) // block_rows * block_rows
    # Ten times faster than np.add.reduceat, which is what it is.
    sums = cells[:full].reshape(-1, block_rows, cells.shape[1]).sum(axis=1, dtype=np.int64)
    if full < len(cells):
        sums = np.vstack([sums, cells[full:].sum(axis=0, dtype=np.int64)])
    largest: Indices = sums.reshape(-1, planes, cells.shape[1] // planes).max(axis=(0, 2))
    return largest


def _stored(held: Conductances, bias: int) -> tuple[Array, int]:
    """The cells in the kernel's type, and how many rows it may sum without overflow."""
    no_limit = np.iinfo(np.int64).max
    if held.cells.dtype != np.uint8:
        return held.cells, no_limit
    segment = (255 - bias) // max(int(held.cells.max(initial=1)), 1)
    if held.pedestal or segment < SHORTEST_SEGMENT:
        return held.cells.astype(np.uint16), no_limit
    return held.cells, segment


class _Scratch:
    """Working memory for reading some images at a time."""

    def __init__(self, layer: VectorLayer, images: int, dtype: np.dtype[Any]):
        shape = layer.shape
        positions = (images, *shape.size)
        wide = shape.blocks * shape.block_rows
        places = images * shape.size[0] * shape.size[1] * wide
        self.count = np.empty((shape.blocks, *positions), np.uint16)
        self.start = np.empty((shape.blocks, *positions), np.int32)
        # Eight more: lists are written eight places at a time.
        self.index = np.empty(places + 8, np.uint8 if shape.block_rows <= 256 else np.uint16)
        self.values = np.empty(positions, np.int32)
        windows = images * shape.out[0] * shape.out[1]
        self.codes = zeros((windows * 2 * layer.tiles.lanes,), np.uint16)
        copied = shape.gathered or wide != shape.channels
        self.source = np.zeros((*positions, wide), dtype) if copied else None

    def lists(self, shape: Shape, images: int) -> tuple[Array, Array]:
        """`start` and `count` of so many images: (blocks, images, h, w)."""
        lists = shape.blocks * images * shape.size[0] * shape.size[1]
        start, count = (
            a.reshape(-1)[:lists].reshape(shape.blocks, images, *shape.size)
            for a in (self.start, self.count)
        )
        return start, count


@dataclass(frozen=True, eq=False)
class VectorLayer:
    """A layer's crossbars, ready to read; the fields are arguments of `read_tiles`."""

    shape: Shape
    placed: LayerMapping
    row_conductance: npt.NDArray[np.int64]
    offset: int
    tiles: Tiles
    cells: Array
    segment: int
    pedestal: int
    flush_every: int
    biases: Array
    multipliers: Array
    shifts: Array
    real_biases: Array
    inverses: Array
    factors: Array
    continued: Array
    top: int
    feeds: tuple[Indices, Indices, Indices]
    uses: tuple[Indices, Indices]
    places: tuple[Indices, Indices]
    compression: Array

    def images_at_once(self) -> int:
        height, width = self.shape.out
        return max(SCRATCH_BYTES // (height * width * 4 * self.tiles.lanes), 1)

    def read(
        self, inputs: Array, out: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]
    ) -> None:
        """Read the crossbars for padded inputs, int8 or uint8 (n, h, w, c).

        Parameters
        ----------
        out : int32 (n, y, x, m)
            Overwritten with the accumulators: sixteenths of a level, rounded once per window to
            whole accumulator LSB.
        counts : int64 (n, 3)
            Overwritten; see `imcsim.kernels.crossbar.read_crossbars`.

        Raises
        ------
        ValueError
            If a shape is not the layer's: the kernel checks no bounds.
        """
        from imcsim.kernels.spike_lists import active_rows

        layer = self.placed.layer
        self._check(inputs, out)
        if inputs.dtype == np.int8:
            # The same bits; the kernels need not be compiled twice.
            inputs = inputs.view(np.uint8)
        rows = np.empty((len(inputs), self.placed.rows), np.int64)
        active_rows(inputs, layer.input_bits, layer.window, layer.stride, self.shape.out, rows)
        counts[:, 0] = rows.sum(axis=1)
        counts[:, 1] = rows @ self.row_conductance
        step = self.images_at_once()
        scratch = _Scratch(self, min(step, len(inputs)), inputs.dtype)
        for start in range(0, len(inputs), step):
            part = slice(start, start + step)
            counts[part, 2] = self._read(
                self._lists_source(inputs[part], scratch), out[part], scratch
            )

    def count_above(
        self, inputs: Array, bounds: Indices, max_level: int, histogram: npt.NDArray[np.int64]
    ) -> None:
        """Count large column sums of ideal cells for padded inputs, int8 or uint8 (n, h, w, c).

        Parameters
        ----------
        bounds : int64 (planes,)
            Sums up to here need not be counted; not negative.
        max_level : int
            Highest level of a cell.
        histogram : int64 (row blocks, planes, largest sum + 1)
            Added to: sums above their plane's bound, as
            `imcsim.kernels.crossbar.column_sum_histogram` counts them; nothing of the others.
        """
        from imcsim.kernels.crossbar_vector import count_tiles

        layer, shape = self.placed.layer, self.shape
        inputs = inputs.view(np.uint8) if inputs.dtype == np.int8 else inputs
        used = self.places[1] > 0
        limits = np.where(used, np.minimum(self.tiles.of_halves(bounds), UNREACHED), UNREACHED)
        longest = limits.min(axis=1) // max_level
        planes = self.tiles.of_halves(np.arange(self.tiles.planes))
        sums = np.zeros(2 * self.tiles.lanes, np.uint16)
        step = self.images_at_once()
        scratch = _Scratch(self, min(step, len(inputs)), inputs.dtype)
        for first in range(0, len(inputs), step):
            source = self._lists_source(inputs[first : first + step], scratch)
            start, count = scratch.lists(shape, len(source))
            for bit in range(layer.input_bits):
                self._list_spikes(source, bit, scratch.index, start, count)
                count_tiles(
                    scratch.index, start, count, self.cells, shape.block_rows, shape.kernel[0],
                    shape.stride, shape.out[0], *self.feeds[:2], shape.slots(),
                    min(self.segment, shape.block_rows), longest, limits, self.places[1],
                    planes, sums, histogram,
                )  # fmt: skip

    def _check(self, inputs: Array, out: Array) -> None:
        layer = self.placed.layer
        height, width = (
            (windows - 1) * layer.stride + k
            for windows, k in zip(self.shape.out, layer.window, strict=True)
        )
        fits = inputs.shape[1] >= height and inputs.shape[2] >= width
        if not fits or inputs.shape[3] != layer.input_shape[0]:
            raise ValueError(f"inputs of shape {inputs.shape} for layer {layer.name}")
        if out.shape != (len(inputs), *self.shape.out, self.placed.c_out):
            raise ValueError(f"accumulators of shape {out.shape} for layer {layer.name}")

    def _lists_source(self, inputs: Array, scratch: _Scratch) -> Array:
        """(n, h, w, blocks · block rows): what the word lines of each position carry."""
        from imcsim.kernels.spike_lists import gather_windows

        layer, shape = self.placed.layer, self.shape
        if scratch.source is None:
            return np.ascontiguousarray(inputs[:, : shape.size[0], : shape.size[1]])
        source = scratch.source[: len(inputs)]
        if shape.gathered:
            gather_windows(inputs, layer.window, layer.stride, source)
        else:
            height, width = shape.size
            source[..., : shape.channels] = inputs[:, :height, :width]
        return source

    def _read(self, source: Array, out: Array, scratch: _Scratch) -> Indices:
        """Read a few images; returns their reads with an active row, int64 (n,)."""
        from imcsim.kernels.crossbar_vector import read_tiles
        from imcsim.kernels.spike_lists import finish_sums, position_sums

        layer, shape = self.placed.layer, self.shape
        n = len(source)
        start, count = scratch.lists(shape, n)
        values = scratch.values[:n]
        index, codes = scratch.index, scratch.codes
        busy = np.zeros(n, np.int64)
        values[...] = 0
        for bit in range(layer.input_bits):
            negative = layer.input_signed and bit == layer.input_bits - 1
            weight = -(1 << bit) if negative else 1 << bit
            self._list_spikes(source, bit, index, start, count)
            position_sums(count, *self.uses, weight, values, busy)
            read_tiles(
                index, start, count, self.cells, shape.block_rows, shape.kernel[0],
                shape.stride, *self.feeds, self.segment, self.biases, self.pedestal,
                self.multipliers, self.shifts, self.real_biases, self.inverses, self.top,
                *self.places, self.factors, self.continued, weight, self.flush_every, bit == 0,
                codes, out,
            )  # fmt: skip
        finish_sums(values, shape.kernel, shape.stride, self.offset, FRACTION_BITS, out)
        return busy

    def _list_spikes(
        self, source: Array, bit: int, index: Array, start: Array, count: Array
    ) -> None:
        from imcsim.kernels.spike_lists import spike_lists, spike_lists_of_bytes

        blocks, span = self.shape.blocks, self.shape.block_rows
        inputs = source.reshape(-1, blocks, span)
        lists = (index, start.reshape(blocks, -1), count.reshape(blocks, -1))
        if index.dtype == np.uint8 and source.itemsize == 1 and span % 8 == 0:
            spike_lists_of_bytes(inputs, bit, self.compression, *lists)
        else:
            spike_lists(inputs, bit, *lists)
