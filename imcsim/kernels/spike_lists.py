"""Lists of spikes, and what can be counted from the inputs before any crossbar is read.

n = images, h, w = padded input height and width, c = channels, y, x = output height and width
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from imcsim.kernels._jit import kernel


@kernel
def spike_lists(inputs, bit, index, start, count):
    """List the word lines whose input has `bit` set, one list after the other.

    Parameters
    ----------
    inputs : integers (p, b, span)
        Two's complement inputs of every position and block of word lines.
    bit : int
        Bit plane that the word lines carry in this read.
    index : uint8 or uint16 (p · b · span + 8,)
        Output: ascending places in the block, the lists of a block behind each other; the last
        eight elements take what does not count.
    start, count : int32 (b, p), uint16 (b, p)
        Output: where each list starts, and how long it is.
    """
    positions, blocks, span = inputs.shape
    for b in range(blocks):
        n = b * positions * span
        for p in range(positions):
            first = n
            for c in range(span):
                index[n] = c
                n += int((inputs[p, b, c] >> bit) & 1)
            start[b, p] = first
            count[b, p] = n - first


@intrinsic
def _compressed(typing, inputs, place, bit, table, index, start, offset):
    """Write the places of `bit` among eight inputs at `place` to ``index[start:]``, `offset` added;
    return how many there are. Eight bytes are written in any case."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        inputs_, place_, bit_, table_, index_, start_, offset_ = args

        def pointer(kind, array, at):
            data = context.make_array(kind)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [at]), word.as_pointer())

        def constant(value):
            return ir.Constant(word, value)

        value = builder.load(pointer(inputs, inputs_, place_), align=1)
        bits = builder.and_(builder.lshr(value, bit_), constant(0x0101010101010101))
        # Bit k of the highest byte of the product is the bit of byte k; no two terms meet.
        mask = builder.lshr(builder.mul(bits, constant(0x0102040810204080)), constant(56))
        places = builder.load(pointer(table, table_, mask), align=8)
        places = builder.add(places, builder.mul(offset_, constant(0x0101010101010101)))
        builder.store(places, pointer(index, index_, start_), align=1)
        return builder.ctpop(mask)

    number = types.int64
    return number(inputs, number, number, table, index, number, number), generate


if numba.config.DISABLE_JIT:

    def _compressed(inputs, place, bit, table, index, start, offset):
        (places,) = np.nonzero((inputs[place : place + 8] >> bit) & 1)
        index[start : start + len(places)] = places + offset
        return len(places)


@kernel
def spike_lists_of_bytes(inputs, bit, table, index, start, count):
    """`spike_lists` of bytes, in blocks of a multiple of 8 and up to 256 word lines: eight at a
    time.

    Parameters
    ----------
    table : uint64 (256,)
        From `compression_table`.
    """
    positions, blocks, span = inputs.shape
    flat = inputs.reshape(-1)
    for b in range(blocks):
        n = b * positions * span
        for p in range(positions):
            first, place = n, (p * blocks + b) * span
            for c in range(0, span, 8):
                n += _compressed(flat, place + c, bit, table, index, n, c)
            start[b, p] = first
            count[b, p] = n - first


def compression_table():
    """uint64 (256,): the places of the bits set in each number, one byte each, lowest first."""
    return np.array(
        [
            sum(place << (8 * n) for n, place in enumerate(k for k in range(8) if mask >> k & 1))
            for mask in range(256)
        ],
        np.uint64,
    )


@kernel
def active_rows(inputs, input_bits, window, stride, windows, counts):
    """Count how often each row of a layer is activated, over all windows and input bits.

    Parameters
    ----------
    inputs : int8 or uint8 (n, h, w, c)
        Padded input integers.
    window, stride : (int, int), int
    windows : (int, int)
        Output height and width.
    counts : int64 (n, rows)
        Output; row = (ky·k_w + kx)·c + channel.
    """
    images, _, _, channels = inputs.shape
    k_h, k_w = window
    out_h, out_w = windows
    whole = np.empty(channels, np.int32)
    line = np.empty((k_w, channels), np.int32)
    used = (out_w - 1) * stride + k_w
    for image in range(images):
        counts[image] = 0
        for y in range((out_h - 1) * stride + k_h):
            row = inputs[image, y]
            line[:] = 0
            if stride == 1 and out_w >= k_w:
                # All windows of a line see the same columns but for those at its ends.
                whole[:] = 0
                _add_active(row[:used], 1, input_bits, 1, whole)
                for kx in range(k_w):
                    _add_active(row[:kx], 1, input_bits, -1, line[kx])
                    _add_active(row[kx + out_w : used], 1, input_bits, -1, line[kx])
                    for c in range(channels):
                        line[kx, c] += whole[c]
            else:
                for kx in range(k_w):
                    last = kx + (out_w - 1) * stride
                    _add_active(row[kx : last + 1], stride, input_bits, 1, line[kx])
            for ky in range(k_h):
                if y >= ky and (y - ky) % stride == 0 and (y - ky) // stride < out_h:
                    for kx in range(k_w):
                        start = (ky * k_w + kx) * channels
                        total, part = counts[image, start : start + channels], line[kx]
                        for c in range(channels):
                            total[c] += part[c]


@kernel
def _add_active(inputs, stride, input_bits, sign, total):
    """Add `sign` to total (c,) for each bit set in every `stride`-th position of inputs (w, c)."""
    for x in range(0, inputs.shape[0], stride):
        row = inputs[x]
        if input_bits == 1:
            for c in range(row.shape[0]):
                total[c] += np.int32(sign * np.int32(row[c] & 1))
        else:
            for bit in range(input_bits):
                for c in range(row.shape[0]):
                    total[c] += np.int32(sign * np.int32((row[c] >> bit) & 1))


@kernel
def position_sums(count, uses_y, uses_x, weight, values, busy):
    """Take from the lists of one bit plane what else is to be known.

    Parameters
    ----------
    count : uint16 (b, n, h, w)
        Active word lines per block of word lines and position.
    uses_y, uses_x : int64 (h,), (w,)
        Windows that cover a position, along each axis.
    weight : int
        Of this bit plane.
    values : int32 (n, h, w)
        Sum of the inputs at each position; added to.
    busy : int64 (n,)
        Reads with an active row; added to.
    """
    blocks, images, height, width = count.shape
    for b in range(blocks):
        for image in range(images):
            reads = 0
            for y in range(height):
                for x in range(width):
                    n = int(count[b, image, y, x])
                    values[image, y, x] += weight * n
                    reads += (n > 0) * uses_y[y] * uses_x[x]
            busy[image] += reads


@intrinsic
def _shifted(typing, value, bits):
    """``value >> bits`` in 32 bits: Numba would widen both to 64, which has no vector shift."""

    def generate(context, builder, signature, args):
        return builder.ashr(args[0], builder.trunc(args[1], ir.IntType(32)))

    return types.int32(types.int32, types.int64), generate


if numba.config.DISABLE_JIT:

    def _shifted(value, bits):
        return value >> bits


@kernel
def finish_sums(values, kernel_size, stride, offset, fraction_bits, out):
    """Take `offset` off for every unit of input in a window, and round to whole numbers; halves up.

    Parameters
    ----------
    values : int32 (n, h, w)
        Sum of the inputs at each position.
    kernel_size, stride : (int, int), int
    offset : int
        In units of `out`.
    fraction_bits : int
        Of `out` before.
    out : int32 (n, y, x, m)
        Accumulators, in place.
    """
    half = np.int32((1 << fraction_bits) >> 1)
    for image in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                total = 0
                for ky in range(kernel_size[0]):
                    for kx in range(kernel_size[1]):
                        total += values[image, oy * stride + ky, ox * stride + kx]
                correction = np.int32(half - offset * total)
                row = out[image, oy, ox]
                for m in range(row.shape[0]):
                    row[m] = _shifted(np.int32(row[m] + correction), fraction_bits)


@kernel
def gather_windows(inputs, window, stride, gathered):
    """Copy what the word lines of each window carry: row (ky·k_w + kx)·c + channel.

    Parameters
    ----------
    inputs : int8 or uint8 (n, h, w, c)
        Padded input integers.
    window, stride : (int, int), int
    gathered : int8 or uint8 (n, y, x, rows or more)
        Overwritten; what follows the last row is left alone.
    """
    k_h, k_w = window
    channels = inputs.shape[3]
    length = k_w * channels
    line = inputs.reshape(inputs.shape[0], inputs.shape[1], -1)
    for image in range(gathered.shape[0]):
        for oy in range(gathered.shape[1]):
            for ox in range(gathered.shape[2]):
                target = gathered[image, oy, ox]
                first = ox * stride * channels
                for ky in range(k_h):
                    source = line[image, oy * stride + ky]
                    for i in range(length):
                        target[ky * length + i] = source[first + i]
