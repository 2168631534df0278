"""Crossbar reads with every convention of mapping and conversion, one column after the other.

`imcsim.kernels.crossbar` reads the common mapping fast; this kernel reads all of them and is
written to be checked by eye. Float32 sums run in ascending word-line order, so that the result
depends neither on the batch nor on the number of workers.

    n = images, h, w = padded input height and width, c = input channels, r = word lines of the
    layer, b = row blocks, q = planes (columns per weight), k = conversions per weight (q, or q / 2
    where pairs are subtracted), s = stored columns of a plane (outputs, then reference columns),
    m = outputs, y, x = output height and width
"""

from __future__ import annotations

import numpy as np

from imcsim.kernels._jit import kernel


@kernel
def _add_active_rows(image, bit, top, left, first, last, lines, levels, sums):
    """Add up the levels (r, q, s) of the word lines first..last − 1 that carry a 1 in `bit`.

    `sums` (q, s) is overwritten; returns the number of active word lines.
    """
    sums[...] = 0
    active = 0
    for row in range(first, last):
        y, x, channel = top + lines[0, row], left + lines[1, row], lines[2, row]
        if (image[y, x, channel] >> bit) & 1:
            active += 1
            for q in range(sums.shape[0]):
                for j in range(sums.shape[1]):
                    sums[q, j] += levels[row, q, j]
    return active


@kernel
def _fluctuate(
    image, bit, top, left, first, last, start, lines, levels, active, pedestal,
    off_levels, cell_sigma, flat_sigma, normals, drives, at, array_of_column, stray,
):  # fmt: skip
    """Set `stray` (q, s) to what column sums of the read `at` (y, x, bit, read) have beyond those
    of a quiet one [levels].

    Cells: one deviate per column with the variance Σ σ²·G² (or σ²) over the active rows. Drivers:
    one deviate per word line and crossbar.
    """
    y, x, _, read = at
    stray[...] = 0
    if cell_sigma > 0:
        for row in range(first, last):
            if (image[top + lines[0, row], left + lines[1, row], lines[2, row]] >> bit) & 1:
                for q in range(stray.shape[0]):
                    for j in range(stray.shape[1]):
                        conductance = np.float32(levels[row, q, j]) + off_levels
                        stray[q, j] += conductance * conductance
    if cell_sigma > 0 or flat_sigma > 0:
        proportional = cell_sigma * cell_sigma
        constant = flat_sigma * flat_sigma * np.float32(active)
        for q in range(stray.shape[0]):
            for j in range(stray.shape[1]):
                variance = stray[q, j] * proportional + constant
                stray[q, j] = np.sqrt(variance) * normals[y, x, bit, read, q, j]
    if drives.shape[0] > 0:
        for row in range(first, last):
            if (image[top + lines[0, row], left + lines[1, row], lines[2, row]] >> bit) & 1:
                for q in range(stray.shape[0]):
                    for j in range(stray.shape[1]):
                        drive = drives[y, x, bit, read, array_of_column[q, j], row - start]
                        stray[q, j] += drive * (np.float32(levels[row, q, j]) + pedestal)


@kernel
def _current(sums, stray, k, j, pairs, off_current):
    """What is converted [levels]: a column with R_off's current, or a pair's difference."""
    if pairs:
        positive = np.float32(sums[2 * k, j]) + stray[2 * k, j]
        return positive - (np.float32(sums[2 * k + 1, j]) + stray[2 * k + 1, j])
    return np.float32(sums[k, j]) + off_current + stray[k, j]


@kernel
def _code(current, bias, inverse_step, max_code, pairs):
    """Code of one conversion: 0..max_code, of a pair −max_code..max_code."""
    size = abs(current) if pairs else current
    scaled = (size + bias) * inverse_step
    code = np.int64(min(max(scaled, np.float32(0.0)), np.float32(max_code)))
    return -code if pairs and current < 0 else code


@kernel
def read_any_crossbars(
    inputs, input_bits, signed, lines, stride, starts, rows_per_read, levels, row_conductance,
    pedestal, pairs, bias, inverse_step, factor, max_code, offset_levels, gain, noise, is_noisy,
    has_offset, off_levels, cell_sigma, flat_sigma, normals, drives, array_of_column, reference,
    sums, stray, codes, out, weighted_inputs, counts,
):  # fmt: skip
    """Run one layer of several images through its crossbars.

    Parameters
    ----------
    inputs : integers (n, h, w, c)
        Padded input integers.
    input_bits, signed : int, bool
        Serial input bits, least significant first; the last one subtracts if `signed`.
    lines : int64 (3, r)
        Of each word line: row and column within the window, and channel.
    stride : int
    starts : int64 (b + 1,)
        First word line of every row block, and r.
    rows_per_read : int
        Word lines driven at once; each group of a row block is converted by itself.
    levels : uint8 or float32 (r, q, s)
    row_conductance : int64 (r,)
        Conductance of all cells of a row, in 1/16 level.
    pedestal : float32
        R_off's current that every active row adds to every column, where `levels` do not hold it.
    pairs : bool
        Planes 2k and 2k + 1 are subtracted as currents.
    bias, inverse_step : float32 (k,)
        ADC rounding and step, in levels.
    factor : int64 (k,)
        What one code is worth, in units of `out`.
    max_code : int
    offset_levels, gain : float32 (b, k, s)
        Each conversion sees ``current · gain + offset + noise``.
    noise : float32 (y, x, input bits, reads of a bit, k, s)
        Of a single image (n = 1), if `is_noisy`; else not read.
    is_noisy, has_offset : bool
        Whether codes of reads without an active row may be other than 0.
    off_levels : float32
        R_off's share of a cell's conductance, where `levels` do not hold it [levels].
    cell_sigma, flat_sigma : float32
        Read noise: σ of a cell as a fraction of its conductance, and of every cell [levels].
    normals : float32 (y, x, input bits, reads of a bit, q, s)
        Standard normal deviates of the columns, of a single image, if a σ is above 0; else not
        read.
    drives : float32 (y, x, input bits, reads of a bit, crossbars of a row block, their word lines)
        By how much voltages of word lines are off, a fraction, of a single image; empty if none is.
    array_of_column : int64 (q, s)
        Crossbar of each column within its row block.
    reference : int64 (m,)
        Stored column whose code is subtracted, −1 for none.
    sums : int32 or float32 (q, s)
    stray : float32 (q, s)
    codes : int64 (k, s)
        Scratch.
    out : int64 (n, y, x, m)
        Sums of codes in the units of `factor`; overwritten.
    weighted_inputs : int64 (n, y, x)
        Output: Σ input of each window; what a digital correction multiplies.
    counts : int64 (n, 3)
        Output per image, for one column of crossbars: activated rows, conductance of the activated
        rows [1/16 level], reads with an active row.
    """
    images, out_h, out_w, outputs = out.shape
    fluctuates = cell_sigma > 0 or flat_sigma > 0 or drives.shape[0] > 0
    stray[...] = 0
    counts[...] = 0
    out[...] = 0
    weighted_inputs[...] = 0
    for image in range(images):
        for oy in range(out_h):
            for ox in range(out_w):
                target = out[image, oy, ox]
                for bit in range(input_bits):
                    worth = 1 << bit
                    if signed and bit == input_bits - 1:
                        worth = -worth
                    read = -1
                    for block in range(starts.shape[0] - 1):
                        for first in range(starts[block], starts[block + 1], rows_per_read):
                            read += 1
                            last = min(first + rows_per_read, starts[block + 1])
                            top, left = oy * stride, ox * stride
                            active = _add_active_rows(
                                inputs[image], bit, top, left, first, last, lines, levels, sums
                            )
                            if active == 0 and not has_offset and not is_noisy:
                                continue
                            off_current = pedestal * np.float32(active)
                            if fluctuates:
                                _fluctuate(
                                    inputs[image], bit, top, left, first, last, starts[block],
                                    lines, levels, active, pedestal, off_levels, cell_sigma,
                                    flat_sigma, normals, drives, (oy, ox, bit, read),
                                    array_of_column, stray,
                                )  # fmt: skip
                            for k in range(codes.shape[0]):
                                for j in range(codes.shape[1]):
                                    current = _current(sums, stray, k, j, pairs, off_current)
                                    seen = current * gain[block, k, j] + offset_levels[block, k, j]
                                    if is_noisy:
                                        seen += noise[oy, ox, bit, read, k, j]
                                    codes[k, j] = _code(
                                        seen, bias[k], inverse_step[k], max_code, pairs
                                    )
                            for j in range(outputs):
                                for k in range(codes.shape[0]):
                                    code = codes[k, j]
                                    if reference[j] >= 0:
                                        code -= codes[k, reference[j]]
                                    target[j] += worth * factor[k] * code
                            weighted_inputs[image, oy, ox] += worth * active
                            counts[image, 0] += active
                            counts[image, 2] += active > 0
                            for row in range(first, last):
                                y, x = top + lines[0, row], left + lines[1, row]
                                if (inputs[image, y, x, lines[2, row]] >> bit) & 1:
                                    counts[image, 1] += row_conductance[row]


@kernel
def any_sum_histogram(
    inputs, input_bits, lines, stride, starts, rows_per_read, levels, pedestal, pairs, sums,
    stray, out_h, out_w, histogram,
):  # fmt: skip
    """Count how often each size of a current occurs, rounded up to whole levels.

    Parameters as in `read_any_crossbars`, `stray` all 0; `histogram` int64 (b, k, largest size + 1)
    is added to.
    """
    for image in range(inputs.shape[0]):
        for oy in range(out_h):
            for ox in range(out_w):
                for bit in range(input_bits):
                    for block in range(starts.shape[0] - 1):
                        for first in range(starts[block], starts[block + 1], rows_per_read):
                            last = min(first + rows_per_read, starts[block + 1])
                            active = _add_active_rows(
                                inputs[image], bit, oy * stride, ox * stride, first, last, lines,
                                levels, sums,
                            )  # fmt: skip
                            off_current = pedestal * np.float32(active)
                            for k in range(histogram.shape[1]):
                                for j in range(sums.shape[1]):
                                    current = _current(sums, stray, k, j, pairs, off_current)
                                    histogram[block, k, np.int64(np.ceil(abs(current)))] += 1
