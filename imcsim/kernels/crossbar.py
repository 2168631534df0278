"""Crossbar reads: active word lines → column sums → ADC codes → shift-and-add → accumulation over
row blocks.

One source serves two data types. With ideal cells `levels` is uint8 and the sums are exact unsigned
integers; with programmed conductances both are float32, summed in ascending row order, so that the
result depends neither on the batch nor on the number of workers.

    n = images, h, w = padded input height and width, c = input channels, r = rows (word lines of
    the layer), q = planes (columns per weight), m = output channels, y, x = output height and width
"""

from __future__ import annotations

import numpy as np

from imcsim.kernels._jit import kernel


@kernel
def active_inputs(inputs, bit, index, count):
    """List the channels whose input has `bit` set, per input position.

    Parameters
    ----------
    inputs : int8 or uint8 (h, w, c)
        Two's complement integers of one image.
    bit : int
        Bit plane that the word lines carry in this read.
    index : uint16 (h·w, c)
        Output: ascending channel numbers, the first ``count[p]`` of each row are valid.
    count : int32 (h·w,)
        Output: active channels per position.
    """
    height, width, channels = inputs.shape
    for y in range(height):
        for x in range(width):
            n = 0
            for c in range(channels):
                if (inputs[y, x, c] >> bit) & 1:
                    index[y * width + x, n] = c
                    n += 1
            count[y * width + x] = n


@kernel
def _add_rows(levels, chosen, n, sums):
    """Add rows ``chosen[:n]`` of `levels` (r, q·m) to `sums` (q·m,), in order; four at a time."""
    width = sums.shape[0]
    i = 0
    while i + 4 <= n:
        a, b, c, d = (
            levels[chosen[i]],
            levels[chosen[i + 1]],
            levels[chosen[i + 2]],
            levels[chosen[i + 3]],
        )
        for j in range(width):
            sums[j] = sums[j] + a[j] + b[j] + c[j] + d[j]
        i += 4
    while i < n:
        a = levels[chosen[i]]
        for j in range(width):
            sums[j] = sums[j] + a[j]
        i += 1


@kernel
def _convert(sums, bias, inverse_step, factor, max_code, sign, out):
    """Digitise `sums` (q·m,), shift and add them to `out` (m,), and clear them for the next block.

    ``code = min(⌊(p + step/2) / step⌋, max_code)``, nothing below 0; `bias` holds step/2 (and, for
    integer sums, the little that keeps the product with `inverse_step` from rounding below an
    exact quotient).
    """
    planes, outputs = bias.shape[0], out.shape[0]
    top = np.float32(max_code)
    zero = np.float32(0.0)
    for q in range(planes):
        plane = sums[q * outputs : (q + 1) * outputs]
        plane_bias, plane_inverse, plane_factor = (
            bias[q],
            inverse_step[q],
            np.int32(sign * factor[q]),
        )
        for j in range(outputs):
            code = min(max((np.float32(plane[j]) + plane_bias) * plane_inverse, zero), top)
            out[j] += plane_factor * np.int32(code)
            plane[j] = 0


@kernel
def read_crossbars(
    inputs, input_bits, signed, window, stride, block_rows, levels, row_conductance,
    bias, inverse_step, factor, max_code, offset, sums, out, counts,
):  # fmt: skip
    """Run one layer of several images through its crossbars, bit-serially.

    Parameters
    ----------
    inputs : int8 or uint8 (n, h, w, c)
        Padded input integers.
    input_bits : int
        Reads per window, least significant bit first; the last one subtracts if `signed`.
    signed : bool
        Two's complement inputs.
    window, stride : (int, int), int
        Height and width of a window; step between windows.
    block_rows : int
        Word lines of one crossbar.
    levels : uint8 or float32 (r, q·m)
        Cell levels (or conductances in level units, without R_off's share), planes side by side.
    row_conductance : int64 (r,)
        Conductance of all cells of a row, in 1/16 level.
    bias, inverse_step : float32 (q,)
        ADC rounding and step per plane, in levels.
    factor : int32 (q,)
        What one ADC code of a plane is worth, in units of `out`.
    max_code : int
        Largest ADC code.
    offset : int
        Subtracted per active input (offset coding), in units of `out`; else 0.
    sums : (q·m,), unsigned integer or float32
        Scratch, cleared by the caller.
    out : int32 (n, y, x, m)
        Accumulators, in the units of `factor` and `offset`; overwritten.
    counts : int64 (n, 3)
        Output per image, for one column of crossbars: activated rows, conductance of the activated
        rows [1/16 level], reads with an active row.
    """
    images, height, width, channels = inputs.shape
    out_h, out_w = out.shape[1], out.shape[2]
    k_h, k_w = window
    index = np.empty((height * width, channels), np.uint16)
    count = np.empty(height * width, np.int32)
    chosen = np.empty(block_rows, np.int64)
    for image in range(images):
        out[image] = 0
        activated = conductance = busy = 0
        for bit in range(input_bits):
            weight = 1 << bit
            if signed and bit == input_bits - 1:
                weight = -weight
            active_inputs(inputs[image], bit, index, count)
            for oy in range(out_h):
                for ox in range(out_w):
                    target = out[image, oy, ox]
                    n = in_window = block_end = 0
                    for ky in range(k_h):
                        for kx in range(k_w):
                            position = (oy * stride + ky) * width + ox * stride + kx
                            base = (ky * k_w + kx) * channels
                            for i in range(count[position]):
                                row = base + np.int64(index[position, i])
                                if row >= block_end:
                                    if n > 0:
                                        _add_rows(levels, chosen, n, sums)
                                        _convert(
                                            sums,
                                            bias,
                                            inverse_step,
                                            factor,
                                            max_code,
                                            weight,
                                            target,
                                        )
                                        busy += 1
                                    in_window += n
                                    n = 0
                                    block_end = (row // block_rows + 1) * block_rows
                                chosen[n] = row
                                n += 1
                                conductance += row_conductance[row]
                    if n > 0:
                        _add_rows(levels, chosen, n, sums)
                        _convert(sums, bias, inverse_step, factor, max_code, weight, target)
                        busy += 1
                        in_window += n
                    correction = np.int32(weight * offset * in_window)
                    if correction != 0:
                        for j in range(target.shape[0]):
                            target[j] -= correction
                    activated += in_window
        counts[image, 0] = activated
        counts[image, 1] = conductance
        counts[image, 2] = busy


@kernel
def column_sum_histogram(
    inputs, input_bits, window, stride, block_rows, levels, planes, histogram, sums
):
    """Count how often each column sum occurs with ideal cells, per row block and plane.

    Parameters as in `read_crossbars`; `levels` is uint8 (r, planes·m) and
    `histogram` int64 (blocks, planes, largest sum + 1) is added to.
    """
    images, height, width, channels = inputs.shape
    k_h, k_w = window
    out_h = (height - k_h) // stride + 1
    out_w = (width - k_w) // stride + 1
    rows = k_h * k_w * channels
    blocks = (rows + block_rows - 1) // block_rows
    outputs = sums.shape[0] // planes
    chosen = np.empty(block_rows, np.int64)
    for image in range(images):
        for bit in range(input_bits):
            for oy in range(out_h):
                for ox in range(out_w):
                    for block in range(blocks):
                        n = 0
                        for row in range(block * block_rows, min((block + 1) * block_rows, rows)):
                            kernel_position, channel = row // channels, row % channels
                            y = oy * stride + kernel_position // k_w
                            x = ox * stride + kernel_position % k_w
                            if (inputs[image, y, x, channel] >> bit) & 1:
                                chosen[n] = row
                                n += 1
                        _add_rows(levels, chosen, n, sums)
                        for q in range(planes):
                            for j in range(q * outputs, (q + 1) * outputs):
                                histogram[block, q, np.int64(sums[j])] += 1
                                sums[j] = 0
