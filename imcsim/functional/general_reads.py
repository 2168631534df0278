"""Reads of the mappings and converters that the fast kernels do not know.

The fast kernels read word lines in channel order, all of a crossbar's rows at once, and convert
every column by itself in ideal converters, without R_off's current. Everything else comes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import InputNoise, ReadNoise
from imcsim.functional.adc import FRACTION_BITS, ONE_LEVEL, AdcSettings
from imcsim.functional.cells import ProgrammedLayer, stored_columns
from imcsim.functional.devices import (
    CellGrid,
    Fluctuations,
    pedestal_levels,
    taken_before_converter,
)
from imcsim.functional.devices.read_draws import ReadKind
from imcsim.mapping import LayerMapping, Mapping

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]


def needs_general_reads(mapping: Mapping) -> bool:
    """Whether a chip's reads are beyond the fast kernels; the same for all of its layers."""
    chip = mapping.chip
    return (
        has_general_conventions(mapping)
        or chip.adc.offset_sigma_levels > 0
        or chip.adc.gain_sigma > 0
        or chip.adc.noise_sigma_levels > 0
        or any(isinstance(m, ReadNoise | InputNoise) and m.sigma > 0 for m in chip.device.models)
    )


def has_general_conventions(mapping: Mapping) -> bool:
    """Whether even the reads of a chip's ideal copy, without errors and noise, are."""
    chip, slicing = mapping.chip, mapping.slicing
    return (
        chip.mapping.row_order != "channel"
        or chip.rows_per_read < chip.crossbar.rows
        or slicing.has_reference
        or slicing.subtracts_currents
        or chip.adc.rounding != "nearest"
        or chip.device.off_current != "corrected"
    )


def read_general(
    mapping: Mapping,
    placed: LayerMapping,
    cells: ProgrammedLayer,
    adc: AdcSettings,
    inputs: Array,
    numbers: Counts,
    timestep: int,
) -> tuple[Array, Counts]:
    """Read a layer's crossbars for a batch.

    Parameters
    ----------
    mapping, placed, cells, adc : a programmed layer.
    inputs : padded integers (n, h, w, c).
    numbers, timestep : int64 (n,), numbers of the images in their set, and when; noise depends on
        them.

    Returns
    -------
    int32 (n, y, x, c_out): accumulators in whole LSB, held at the ends of 32 bits.
    int64 (n, 3): measured actions of all the layer's crossbars.
    """
    n, (c_out, height, width) = len(inputs), placed.layer.output_shape
    out = np.empty((n, height, width, c_out), np.int64)
    weighted = np.empty((n, height, width), np.int64)
    counts = np.empty((n, 3), np.int64)
    if adc.noise is None and cells.fluctuations is None:
        _read(mapping, placed, cells, adc, inputs, _Drawn(), out, weighted, counts)
    else:
        for i, number in enumerate(numbers):  # one at a time: what is drawn takes most memory
            counts[i] = _read_noisily(
                mapping, placed, cells, adc, inputs[i], (int(number), timestep), out[i], weighted[i]
            )
    corrected = mapping.slicing.offset * ONE_LEVEL * weighted
    corrected += np.rint(weighted * adc.off_current.subtracted).astype(np.int64)
    out -= corrected[..., None]
    # Codes are worth sixteenths of a level: round to whole accumulator LSB, once per window.
    out += ONE_LEVEL // 2
    out >>= FRACTION_BITS
    limits = np.iinfo(np.int32)
    crossbars = placed.crossbars_per_row_block
    return (
        np.clip(out, limits.min, limits.max).astype(np.int32),
        # The conductance already covers all columns.
        counts * np.array([crossbars, 1, crossbars]),
    )


def _read_noisily(
    mapping: Mapping,
    placed: LayerMapping,
    cells: ProgrammedLayer,
    adc: AdcSettings,
    image: Array,
    when: tuple[int, int],
    out: Counts,
    weighted: Counts,
) -> Counts:
    """Read the crossbars for one image, one row of windows after the other; `when` is the image's
    number and the timestep. Returns the counts, int64 (3,)."""
    height, width, _ = out.shape
    reads = (width, placed.layer.input_bits, reads_of_a_bit(placed))
    columns = stored_columns(mapping, placed)
    noise = _none()
    if adc.noise is not None:
        noise = adc.noise.drawn(*when, (height, *reads, len(adc.factor), columns))
    total, counts = np.zeros(3, np.int64), np.empty((1, 3), np.int64)
    for y in range(height):
        drawn = _drawn(mapping, placed, cells.fluctuations, when, y * width, reads)
        if adc.noise is not None:
            drawn = replace(drawn, noise=noise[y : y + 1])
        row, one = image[None, y * placed.layer.stride :], slice(y, y + 1)
        _read(mapping, placed, cells, adc, row, drawn, out[None, one], weighted[None, one], counts)
        total += counts[0]
    return total


def _none() -> npt.NDArray[np.float32]:
    return np.zeros((1,) * 6, np.float32)


def _no_drives() -> npt.NDArray[np.float32]:
    return np.zeros((0, 1, 1, 1, 1, 1), np.float32)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What is drawn for some windows of one image, as the kernel takes it."""

    noise: npt.NDArray[np.float32] = field(default_factory=_none)
    normals: npt.NDArray[np.float32] = field(default_factory=_none)
    drives: npt.NDArray[np.float32] = field(default_factory=_no_drives)


def _drawn(
    mapping: Mapping,
    placed: LayerMapping,
    fluctuations: Fluctuations | None,
    when: tuple[int, int],
    first_window: int,
    reads: tuple[int, int, int],
) -> _Drawn:
    """Read noise and input noise of a row of windows; `reads` are windows, input bits and reads of
    a bit."""
    if fluctuations is None:
        return _Drawn()
    drawn, planes = _Drawn(), len(mapping.slicing.planes)
    if fluctuations.cells_fluctuate:
        columns = stored_columns(mapping, placed)
        shape = (*reads, planes * columns)
        normals = fluctuations.normals(ReadKind.COLUMN, *when, first_window, shape)
        drawn = replace(drawn, normals=normals.reshape(1, *reads, planes, columns))
    if fluctuations.input_sigma > 0:
        lines = (placed.crossbars_per_row_block, placed.crossbar_rows)
        shape = (*reads, lines[0] * lines[1])
        drives = fluctuations.normals(ReadKind.ROW, *when, first_window, shape)
        drives *= np.float32(fluctuations.input_sigma)
        drawn = replace(drawn, drives=drives.reshape(1, *reads, *lines))
    return drawn


def reads_of_a_bit(placed: LayerMapping) -> int:
    """Groups of word lines that are driven one after the other (or side by side in other
    crossbars): row blocks, cut every `rows_per_read`."""
    return sum(-(-int(rows) // placed.rows_per_read) for rows in placed.block_rows)


def _read(
    mapping: Mapping,
    placed: LayerMapping,
    cells: ProgrammedLayer,
    adc: AdcSettings,
    inputs: Array,
    drawn: _Drawn,
    out: Counts,
    weighted: Counts,
    counts: Counts,
) -> None:
    from imcsim.kernels.crossbar_general import read_any_crossbars

    layer, levels, errors = placed.layer, _levels(mapping, cells), adc.errors
    shape = (placed.row_blocks, len(adc.factor), levels.shape[2])
    offset = np.zeros(shape, np.float32) if errors is None else errors.offset_levels
    gain = np.ones(shape, np.float32) if errors is None else errors.gain
    fluctuations = cells.fluctuations
    cell_sigma = 0.0 if fluctuations is None else fluctuations.cell_sigma
    flat_sigma = 0.0 if fluctuations is None else fluctuations.flat_sigma
    grid = CellGrid.of(placed, mapping.slicing.has_reference)
    read_any_crossbars(
        inputs, layer.input_bits, layer.input_signed, _lines(placed), layer.stride,
        _starts(placed), placed.rows_per_read, levels, cells.row_conductance,
        np.float32(adc.off_current.seen), mapping.slicing.subtracts_currents,
        adc.bias, adc.inverse_step, adc.factor.astype(np.int64), adc.max_code,
        offset, gain, drawn.noise, adc.noise is not None, bool(offset.any()),
        np.float32(_off_levels(mapping, cells)), np.float32(cell_sigma), np.float32(flat_sigma),
        drawn.normals, drawn.drives, grid.array_of_column(levels.shape[1]),
        _references(mapping, placed), _sums(levels), _stray(levels), np.empty(shape[1:], np.int64),
        out, weighted, counts,
    )  # fmt: skip


def _off_levels(mapping: Mapping, cells: ProgrammedLayer) -> float:
    """R_off's share of a cell's conductance that its levels do not hold."""
    if cells.levels.dtype == np.uint8:
        return pedestal_levels(mapping.chip)
    return taken_before_converter(mapping.chip)


def count_sums(
    mapping: Mapping,
    placed: LayerMapping,
    cells: ProgrammedLayer,
    inputs: Array,
    off_current: float,
    histogram: Counts,
) -> None:
    """Add to `histogram`, int64 (row blocks, conversions, sizes), what ideal cells give the
    converters; `off_current` is R_off's, in levels per active row."""
    from imcsim.kernels.crossbar_general import any_sum_histogram

    layer, levels = placed.layer, _levels(mapping, cells)
    _, height, width = layer.output_shape
    any_sum_histogram(
        inputs, layer.input_bits, _lines(placed), layer.stride, _starts(placed),
        placed.rows_per_read, levels, np.float32(off_current), mapping.slicing.subtracts_currents,
        _sums(levels), _stray(levels), height, width, histogram,
    )  # fmt: skip


def _levels(mapping: Mapping, cells: ProgrammedLayer) -> Array:
    return cells.levels.reshape(len(cells.levels), len(mapping.slicing.planes), -1)


def _lines(placed: LayerMapping) -> Counts:
    """int64 (3, rows): y and x within the window and channel of each word line."""
    shape = (*placed.layer.window, placed.layer.input_shape[0])
    return np.array(np.unravel_index(placed.matrix_rows, shape), np.int64)


def _starts(placed: LayerMapping) -> Counts:
    return np.array((*placed.row_starts, placed.rows), np.int64)


def _references(mapping: Mapping, placed: LayerMapping) -> Counts:
    """int64 (c_out,): stored column of each output's reference, −1 if it has none."""
    blocks = np.arange(placed.c_out) // placed.weights_per_crossbar
    if not mapping.slicing.has_reference:
        return np.full(placed.c_out, -1)
    first_reference = stored_columns(mapping, placed) - placed.col_blocks
    references: Counts = first_reference + blocks
    return references


def _stray(levels: Array) -> Array:
    return np.zeros(levels.shape[1:], np.float32)


def _sums(levels: Array) -> Array:
    real = levels.dtype == np.float32
    return np.zeros(levels.shape[1:], np.float32 if real else np.int32)
