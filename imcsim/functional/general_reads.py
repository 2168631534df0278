"""Reads of the mappings and converters that the fast kernels do not know.

The fast kernels read word lines in channel order, all of a crossbar's rows at once, and convert
every column by itself in ideal converters, without R_off's current. Everything else comes here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import FRACTION_BITS, ONE_LEVEL, AdcSettings
from imcsim.functional.cells import ProgrammedLayer, stored_columns
from imcsim.mapping import LayerMapping, Mapping

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]


def needs_general_reads(mapping: Mapping) -> bool:
    """Whether a chip's reads are beyond the fast kernels; the same for all of its layers."""
    chip, slicing = mapping.chip, mapping.slicing
    return (
        chip.mapping.row_order != "channel"
        or chip.rows_per_read < chip.crossbar.rows
        or slicing.has_reference
        or slicing.subtracts_currents
        or chip.adc.rounding != "nearest"
        or chip.adc.offset_sigma_levels > 0
        or chip.adc.gain_sigma > 0
        or chip.adc.noise_sigma_levels > 0
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
    if adc.noise is None:
        quiet = np.zeros((1,) * 6, np.float32)
        _read(mapping, placed, cells, adc, inputs, quiet, out, weighted, counts)
    else:
        reads = sum(-(-int(rows) // placed.rows_per_read) for rows in placed.block_rows)
        columns = stored_columns(mapping, placed)
        shape = (height, width, placed.layer.input_bits, reads, len(adc.factor), columns)
        for i, number in enumerate(numbers):  # one at a time: noise takes most memory
            noise = adc.noise.drawn(int(number), timestep, shape)
            one = slice(i, i + 1)
            _read(mapping, placed, cells, adc, inputs[one], noise, out[one], weighted[one],
                  counts[one])  # fmt: skip
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


def _read(
    mapping: Mapping,
    placed: LayerMapping,
    cells: ProgrammedLayer,
    adc: AdcSettings,
    inputs: Array,
    noise: Array,
    out: Counts,
    weighted: Counts,
    counts: Counts,
) -> None:
    from imcsim.kernels.crossbar_general import read_any_crossbars

    layer, levels, errors = placed.layer, _levels(mapping, cells), adc.errors
    shape = (placed.row_blocks, len(adc.factor), levels.shape[2])
    offset = np.zeros(shape, np.float32) if errors is None else errors.offset_levels
    gain = np.ones(shape, np.float32) if errors is None else errors.gain
    read_any_crossbars(
        inputs, layer.input_bits, layer.input_signed, _lines(placed), layer.stride,
        _starts(placed), placed.rows_per_read, levels, cells.row_conductance,
        np.float32(adc.off_current.seen), mapping.slicing.subtracts_currents,
        adc.bias, adc.inverse_step, adc.factor.astype(np.int64), adc.max_code,
        offset, gain, noise, adc.noise is not None, bool(offset.any()),
        _references(mapping, placed), _sums(levels), np.empty(shape[1:], np.int64),
        out, weighted, counts,
    )  # fmt: skip


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
        _sums(levels), height, width, histogram,
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


def _sums(levels: Array) -> Array:
    real = levels.dtype == np.float32
    return np.zeros(levels.shape[1:], np.float32 if real else np.int32)
