"""Crossbar reads from lists of spikes, in explicit vectors.

One tile of weights stays in the first-level cache while all images and positions pass. Every list
of active word lines is walked once for up to three neighbouring windows, with all column sums in
registers. What a cell holds decides the arithmetic:

- ``uint8``: whole levels, summed in bytes as long as they cannot overflow;
- ``uint16``: two conductances of 8 bits, above a pedestal, in one word; summed in 16 bits;
- ``int16``: conductances of 16 bits, signed;
- ``float32``: summed in ascending order of rows, as `imcsim.kernels.crossbar` does.

A vector here is 128 bytes, whatever the machine: the compiler cuts it into registers. Its two
halves are columns of the same or different planes; columns of ``uint8`` and ``uint16`` tiles
alternate between them, so that masks and shifts part the halves.

Vectors reach memory by pointer, without bounds checks: `imcsim.functional.vector_reads` makes all
arguments and checks their sizes. Two bytes in a word stand low byte first, as on any machine that
Numba compiles for today.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from imcsim.kernels._jit import inlined, kernel

# --- Vectors ------------------------------------------------------------------------------------

BYTES = 128
_ELEMENTS = {
    "u8": ir.IntType(8),
    "u16": ir.IntType(16),
    "i16": ir.IntType(16),
    "i32": ir.IntType(32),
    "f32": ir.FloatType(),
}
_OF_DTYPE = {types.uint8: "u8", types.uint16: "u16", types.int16: "i16", types.float32: "f32"}


class Vector(types.Type):
    """A vector in registers."""

    def __init__(self, element, lanes):
        self.element, self.lanes = element, lanes
        super().__init__(f"Vector({element} x {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, _llvm(vector.element, vector.lanes))


def _llvm(element, lanes):
    return ir.VectorType(_ELEMENTS[element], lanes)


def _of(array):
    """Vector type of the cells in `array`."""
    element = _OF_DTYPE[array.dtype]
    return Vector(element, BYTES * 8 // array.dtype.bitwidth)


def _sums_of(vector):
    """Vector type of the sums of `vector`, both halves one after the other."""
    return Vector("u16", 128) if vector.element == "u8" else vector


def _splat(builder, scalar, lanes):
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(first, undefined, zeros)


def _same(vector, value):
    return ir.Constant(vector.type, [value] * vector.type.count)


def _part(builder, vector, start, lanes):
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(start, start + lanes)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _join(builder, low, high):
    lanes = 2 * low.type.count
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
    return builder.shuffle_vector(low, high, mask)


def _call(builder, name, result, args):
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def _pointer(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _halves_lanes(cells):
    """Columns of half a tile."""
    return {"u8": 64, "u16": 32, "i16": 32, "f32": 16}[_OF_DTYPE[cells.dtype]]


@intrinsic
def _columns(typing, cells):
    """Columns of a tile."""

    def generate(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), 2 * _halves_lanes(cells))

    return types.int64(cells), generate


@intrinsic
def _places(typing, cells):
    """Array elements that one row of a tile takes."""

    def generate(context, builder, signature, args):
        count = {"u8": 128, "u16": 32, "i16": 64, "f32": 32}[_OF_DTYPE[cells.dtype]]
        return ir.Constant(ir.IntType(64), count)

    return types.int64(cells), generate


@intrinsic
def _element(typing, array, index):
    """``array[index]`` of unsigned integers; an index is never negative."""

    def generate(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.zext(builder.load(builder.gep(data, [args[1]])), ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def _start(typing, cells, low, high):
    """Sums of no rows yet; integers start at the converters' bias of the two halves."""
    vector = _of(cells)

    def generate(context, builder, signature, args):
        kind = _llvm(vector.element, vector.lanes)
        if vector.element == "f32":
            return ir.Constant(kind, None)
        low, high = (builder.trunc(a, ir.IntType(16)) for a in args[1:])
        both = builder.add(low, builder.shl(high, ir.Constant(high.type, 8)))
        if vector.element == "u8":
            return builder.bitcast(_splat(builder, both, 64), kind)
        first = both if vector.element == "u16" else low
        return _join(builder, _splat(builder, first, 32), _splat(builder, high, 32))

    return vector(cells, types.int64, types.int64), generate


@intrinsic
def _add_row(typing, sums, cells, index):
    """`sums` plus the row of cells at `index`."""
    vector = _of(cells)

    def generate(context, builder, signature, args):
        lanes = vector.lanes // 2 if vector.element == "u16" else vector.lanes
        source = _pointer(context, builder, cells, args[1], args[2], _llvm(vector.element, lanes))
        row = builder.load(source, align=1)
        if vector.element == "f32":
            return builder.fadd(args[0], row)
        if vector.element == "u16":
            # Words of two bytes: one sum takes both, low + 256·high modulo 2^16, the other one
            # the high byte alone.
            row = _join(builder, row, builder.lshr(row, _same(row, 8)))
        return builder.add(args[0], row)

    return vector(vector, cells, types.int64), generate


@intrinsic
def _halves(typing, sums):
    """Sums of both halves, one after the other, in 16 bits (or float32)."""
    result = _sums_of(sums)

    def generate(context, builder, signature, args):
        value = args[0]
        if sums.element == "u8":
            words = builder.bitcast(value, _llvm("u16", 64))
            low = builder.and_(words, _same(words, 255))
            return _join(builder, low, builder.lshr(words, _same(words, 8)))
        if sums.element == "u16":
            both, high = _part(builder, value, 0, 32), _part(builder, value, 32, 32)
            return _join(builder, builder.sub(both, builder.shl(high, _same(high, 8))), high)
        return value

    return result(sums), generate


@intrinsic
def _add(typing, a, b):
    def generate(context, builder, signature, args):
        return builder.fadd(*args) if a.element == "f32" else builder.add(*args)

    return a(a, b), generate


def _scaled(builder, value, multiplier, shift):
    """``(value · multiplier) >> 16 >> shift``; `value` itself where `multiplier` is 0."""
    lanes, before = value.type.count, builder.block
    zero = ir.Constant(multiplier.type, 0)
    with builder.if_then(builder.icmp_signed("!=", multiplier, zero)):
        factor = _splat(builder, builder.trunc(multiplier, ir.IntType(16)), lanes)
        sixteen = ir.Constant(ir.IntType(32), 16)
        name = f"llvm.umul.fix.v{lanes}i16"
        product = _call(builder, name, value.type, [value, factor, sixteen])
        product_from = builder.block
        with builder.if_then(builder.icmp_signed("!=", shift, zero)):
            count = _splat(builder, builder.trunc(shift, ir.IntType(16)), lanes)
            shifted, shifted_from = builder.lshr(product, count), builder.block
        scaled = builder.phi(value.type)
        scaled.add_incoming(product, product_from)
        scaled.add_incoming(shifted, shifted_from)
        scaled_from = builder.block
    result = builder.phi(value.type)
    result.add_incoming(value, before)
    result.add_incoming(scaled, scaled_from)
    return result


def _clamped(builder, value, top):
    limit = _splat(builder, builder.trunc(top, ir.IntType(16)), value.type.count)
    return builder.select(builder.icmp_unsigned("<", value, limit), value, limit)


def _float_codes(builder, value, bias, inverse, top):
    lanes = value.type.count
    bias, inverse = (_splat(builder, a, lanes) for a in (bias, inverse))
    top = _splat(builder, builder.sitofp(top, ir.FloatType()), lanes)
    scaled = builder.fmul(builder.fadd(value, bias), inverse)
    scaled = builder.select(builder.fcmp_ordered("<", scaled, top), scaled, top)
    # Clamping whole numbers of 32 bits while they become 16 is one instruction.
    whole = builder.fptosi(scaled, _llvm("i32", lanes))
    for comparison, limit in ((">", 0), ("<", (1 << 16) - 1)):
        limit = _same(whole, limit)
        whole = builder.select(builder.icmp_signed(comparison, whole, limit), whole, limit)
    return builder.trunc(whole, _llvm("u16", lanes))


@intrinsic
def _convert(typing, sums, minus, multipliers, shifts, biases, inverses, top, codes, index):
    """Digitise both halves of `sums` and add the codes to ``codes[index:]``.

    `minus` is taken off integer sums before, down to 0.
    """

    def generate(context, builder, signature, args):
        value, minus, *pairs, top, codes_, index_ = args
        lanes = sums.lanes // 2
        if sums.element == "i16":
            zero = ir.Constant(value.type, None)
            value = builder.select(builder.icmp_signed(">", value, zero), value, zero)
        elif sums.element == "u16" and lanes == 32:
            pedestal = _splat(builder, builder.trunc(minus, ir.IntType(16)), sums.lanes)
            value = _call(builder, "llvm.usub.sat.v64i16", value.type, [value, pedestal])
        for half in range(2):
            part = _part(builder, value, half * lanes, lanes)
            multiplier, shift, bias, inverse = (builder.extract_value(p, half) for p in pairs)
            if sums.element == "f32":
                code = _float_codes(builder, part, bias, inverse, top)
            else:
                code = _clamped(builder, _scaled(builder, part, multiplier, shift), top)
            at = builder.add(index_, ir.Constant(index_.type, half * lanes))
            target = _pointer(context, builder, codes, codes_, at, code.type)
            builder.store(builder.add(builder.load(target, align=1), code), target, align=1)
        return context.get_dummy_value()

    pair, reals = types.UniTuple(types.int64, 2), types.UniTuple(types.float32, 2)
    arguments = (sums, types.int64, pair, pair, reals, reals, types.int64, codes, types.int64)
    return types.void(*arguments), generate


@intrinsic
def _combine_half(typing, cells, codes, at, factor, out, place, adds):
    """Add ``factor · codes[at:]`` of one half to ``out[place:]``, or overwrite it unless `adds`;
    clear those codes."""
    lanes = _halves_lanes(cells)

    def generate(context, builder, signature, args):
        _, codes_, at_, factor_, out_, place_, adds_ = args
        words, wide = _llvm("u16", lanes), _llvm("i32", lanes)
        source = _pointer(context, builder, codes, codes_, at_, words)
        target = _pointer(context, builder, out, out_, place_, wide)
        worth = _splat(builder, builder.trunc(factor_, ir.IntType(32)), lanes)
        product = builder.mul(builder.zext(builder.load(source, align=1), wide), worth)
        builder.store(ir.Constant(words, None), source, align=1)
        before = builder.block
        with builder.if_then(adds_):
            added, added_from = builder.load(target, align=1), builder.block
        already = builder.phi(wide)
        already.add_incoming(ir.Constant(wide, None), before)
        already.add_incoming(added, added_from)
        builder.store(builder.add(already, product), target, align=1)
        return context.get_dummy_value()

    number = types.int64
    places = (cells, codes, number, number, out, number, types.boolean)
    return types.void(*places), generate


@intrinsic
def _exceeding(typing, sums, low, high):
    """1 if a sum of the first half is above `low`, plus 2 if one of the second is above `high`."""

    def generate(context, builder, signature, args):
        value, *bounds = args
        lanes, word = sums.lanes // 2, ir.IntType(64)
        found = ir.Constant(word, 0)
        for half, bound in enumerate(bounds):
            part = _part(builder, value, half * lanes, lanes)
            limit = _splat(builder, builder.trunc(bound, ir.IntType(16)), lanes)
            above = _call(builder, f"llvm.usub.sat.v{lanes}i16", part.type, [part, limit])
            while above.type.count > 16:
                width = above.type.count // 2
                above = builder.or_(
                    _part(builder, above, 0, width), _part(builder, above, width, width)
                )
            whole = builder.bitcast(above, ir.IntType(256))
            hit = builder.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0))
            flag = builder.shl(builder.zext(hit, word), ir.Constant(word, half))
            found = builder.or_(found, flag)
        return found

    return types.int64(sums, types.int64, types.int64), generate


@intrinsic
def _store(typing, sums, target):
    """Write `sums` to the start of `target`."""

    def generate(context, builder, signature, args):
        kind, zero = args[0].type, ir.Constant(ir.IntType(64), 0)
        place = _pointer(context, builder, target, args[1], zero, kind)
        builder.store(args[0], place, align=1)
        return context.get_dummy_value()

    return types.void(sums, target), generate


if numba.config.DISABLE_JIT:

    def _columns(cells):
        return {1: 128, 2: 64, 4: 32}[cells.itemsize]

    def _places(cells):
        return 32 if cells.dtype == np.uint16 else _columns(cells)

    def _element(array, index):
        return int(array[index])

    def _combine_half(cells, codes, at, factor, out, place, adds):
        lanes = _columns(cells) // 2
        part, target = codes[at : at + lanes], out[place : place + lanes]
        target[:] = (target if adds else 0) + (factor * part.astype(np.int64)).astype(np.int32)
        part[:] = 0

    def _start(cells, low, high):
        if cells.dtype == np.float32:
            return np.zeros(32, np.float32)
        if cells.dtype == np.uint8:
            return np.tile(np.array([low, high], np.uint8), 64)
        first = low + 256 * high if cells.dtype == np.uint16 else low
        return np.repeat(np.array([first, high]).astype(cells.dtype), 32)

    def _add_row(sums, cells, index):
        if cells.dtype == np.uint16:
            row = cells[index : index + 32]
            return sums + np.concatenate([row, row >> 8])
        return sums + cells[index : index + len(sums)]

    def _halves(sums):
        if sums.dtype == np.uint8:
            return sums.reshape(64, 2).T.reshape(-1).astype(np.uint16)
        if sums.dtype == np.uint16:
            return np.concatenate([sums[:32] - (sums[32:] << 8), sums[32:]])
        return sums

    def _add(a, b):
        return a + b

    def _convert(sums, minus, multipliers, shifts, biases, inverses, top, codes, index):
        lanes = len(sums) // 2
        for half in range(2):
            part = sums[half * lanes : (half + 1) * lanes]
            if sums.dtype == np.float32:
                scaled = (part + np.float32(biases[half])) * np.float32(inverses[half])
                code = np.clip(scaled, np.float32(0), np.float32(top)).astype(np.int64)
            else:
                code = np.maximum(part.astype(np.int64) - (minus if lanes == 32 else 0), 0)
                if multipliers[half]:
                    code = (code * multipliers[half]) >> 16 >> shifts[half]
                code = np.minimum(code, top)
            at = index + half * lanes
            codes[at : at + lanes] += code.astype(np.uint16)

    def _exceeding(sums, low, high):
        lanes = len(sums) // 2
        return int((sums[:lanes] > low).any()) + 2 * int((sums[lanes:] > high).any())

    def _store(sums, target):
        target[: len(sums)] = sums


# --- Kernels ------------------------------------------------------------------------------------


@inlined
def _read_three(cells, w, stride, index, i, n, bias, minus, adc, codes, at):
    """Up to here, from one list, three windows beside each other: their sums stay in registers."""
    columns, places = _columns(cells), _places(cells)
    a = _start(cells, bias[0], bias[1])
    b = _start(cells, bias[0], bias[1])
    c = _start(cells, bias[0], bias[1])
    for j in range(i, i + n):
        row = w + _element(index, j) * stride
        a = _add_row(a, cells, row)
        b = _add_row(b, cells, row + places)
        c = _add_row(c, cells, row + 2 * places)
    multipliers, shifts, biases, inverses, top = adc
    _convert(_halves(a), minus, multipliers, shifts, biases, inverses, top, codes, at)
    _convert(_halves(b), minus, multipliers, shifts, biases, inverses, top, codes, at - columns)
    _convert(_halves(c), minus, multipliers, shifts, biases, inverses, top, codes, at - 2 * columns)


@inlined
def _read_two(cells, w, stride, index, i, n, bias, minus, adc, codes, at):
    columns, places = _columns(cells), _places(cells)
    a = _start(cells, bias[0], bias[1])
    b = _start(cells, bias[0], bias[1])
    for j in range(i, i + n):
        row = w + _element(index, j) * stride
        a = _add_row(a, cells, row)
        b = _add_row(b, cells, row + places)
    multipliers, shifts, biases, inverses, top = adc
    _convert(_halves(a), minus, multipliers, shifts, biases, inverses, top, codes, at)
    _convert(_halves(b), minus, multipliers, shifts, biases, inverses, top, codes, at - columns)


@inlined
def _read_one(cells, w, stride, index, i, n, bias, minus, adc, codes, at):
    a = _start(cells, bias[0], bias[1])
    for j in range(i, i + n):
        a = _add_row(a, cells, w + _element(index, j) * stride)
    multipliers, shifts, biases, inverses, top = adc
    _convert(_halves(a), minus, multipliers, shifts, biases, inverses, top, codes, at)


@inlined
def _read_long(cells, w, stride, index, i, n, segment, bias, minus, adc, codes, at):
    """One window from a list so long that its sums would overflow a byte."""
    total = _halves(_start(cells, bias[0], bias[1]))
    end = i + n
    while i < end:
        a = _start(cells, 0, 0)
        for j in range(i, min(i + segment, end)):
            a = _add_row(a, cells, w + _element(index, j) * stride)
        total = _add(total, _halves(a))
        i += segment
    multipliers, shifts, biases, inverses, top = adc
    _convert(total, minus, multipliers, shifts, biases, inverses, top, codes, at)


@inlined
def _read_three_long(cells, w, stride, index, i, n, segment, bias, minus, adc, codes, at):
    """`_read_long` for three windows: what the bytes hold is moved to wider sums in between."""
    columns, places = _columns(cells), _places(cells)
    total_a = _halves(_start(cells, bias[0], bias[1]))
    total_b, total_c = total_a, total_a
    end = i + n
    while i < end:
        a = _start(cells, 0, 0)
        b = _start(cells, 0, 0)
        c = _start(cells, 0, 0)
        for j in range(i, min(i + segment, end)):
            row = w + _element(index, j) * stride
            a = _add_row(a, cells, row)
            b = _add_row(b, cells, row + places)
            c = _add_row(c, cells, row + 2 * places)
        total_a = _add(total_a, _halves(a))
        total_b = _add(total_b, _halves(b))
        total_c = _add(total_c, _halves(c))
        i += segment
    multipliers, shifts, biases, inverses, top = adc
    _convert(total_a, minus, multipliers, shifts, biases, inverses, top, codes, at)
    _convert(total_b, minus, multipliers, shifts, biases, inverses, top, codes, at - columns)
    _convert(total_c, minus, multipliers, shifts, biases, inverses, top, codes, at - 2 * columns)


@inlined
def _read_list(cells, w, stride, index, i, n, segment, bias, minus, adc, codes, at, windows):
    """Add the codes of one list to `windows` windows, the first at `at`, the next ones before."""
    columns, places = _columns(cells), _places(cells)
    if n > segment:
        if windows == 3:
            _read_three_long(cells, w, stride, index, i, n, segment, bias, minus, adc, codes, at)
            return
        for k in range(windows):
            _read_long(
                cells, w + k * places, stride, index, i, n, segment, bias, minus, adc, codes,
                at - k * columns,
            )  # fmt: skip
        return
    while windows >= 3:
        _read_three(cells, w, stride, index, i, n, bias, minus, adc, codes, at)
        w += 3 * places
        at -= 3 * columns
        windows -= 3
    if windows == 2:
        _read_two(cells, w, stride, index, i, n, bias, minus, adc, codes, at)
    elif windows == 1:
        _read_one(cells, w, stride, index, i, n, bias, minus, adc, codes, at)


@inlined
def _combine(cells, codes, first_output, width, factor, weight, adds, out):
    """Shift and add the codes of one tile (p, columns) to `out` (p, m), and clear them; a half
    without `adds` overwrites."""
    columns = _columns(cells)
    lanes, outputs = columns // 2, out.shape[1]
    flat = out.reshape(-1)
    for p in range(out.shape[0]):
        for half in range(2):
            at, place = p * columns + half * lanes, p * outputs + first_output[half]
            worth = factor[half] * weight
            if width[half] == lanes:
                _combine_half(cells, codes, at, worth, flat, place, adds[half])
                continue
            for j in range(width[half]):
                already = np.int64(flat[place + j]) if adds[half] else 0
                flat[place + j] = already + worth * np.int64(codes[at + j])
            for j in range(at, at + lanes):
                codes[j] = 0


@kernel
def read_tiles(
    index, start, count, cells, block_rows, kernel_height, stride, first_slot, slots, first_window,
    segment, biases, pedestal, multipliers, shifts, real_biases, inverses, top,
    first_outputs, widths, factors, continued, weight, flush_every, first, codes, out,
):  # fmt: skip
    """Run several images, one bit plane, through all tiles of a layer.

    n = images, h, w = padded input height and width, b = blocks of word lines per position,
    y, x = output height and width, m = output channels, t = tiles, s = slots (kernel columns)

    Parameters
    ----------
    index, start, count : uint8 or uint16 (places,), int32 (b, n, h, w), uint16 (b, n, h, w)
        Active word lines of each block and position; see `imcsim.kernels.spike_lists`.
    cells : uint8, uint16, int16 or float32 (t, b · kernel_height · block_rows · s · columns), flat
        One tile after the other.
    first_slot, slots, first_window : int64 (w,)
        Which slots a position at x feeds, how many, and the output column that the first one feeds;
        the following ones feed the columns before.
    segment : int
        Rows that can be summed without overflow.
    biases, multipliers, shifts : int64 (t, 2)
        Integer converters of each half: ``min(((p + bias)·multiplier) >> 16 >> shift, top)``;
        multiplier 0 stands for 1.
    pedestal : int
        Taken off for each active row.
    real_biases, inverses : float32 (t, 2)
        Converters of float32 sums: ``min(⌊(p + bias)·inverse⌋, top)``.
    first_outputs, widths, factors : int64 (t, 2)
        Output channels of each half, and what one of its codes is worth.
    continued : bool (t, 2)
        False for the first half that adds to its outputs.
    weight : int
        Of this bit plane.
    first : bool
        Nothing has been added to `out` yet.
    flush_every : int
        Passes after which the codes are combined, before 16 bits overflow.
    codes : uint16 (n · y · x · columns,)
        Scratch, all zeros.
    out : int32 (n, y, x, m)
        Accumulators, added to; overwritten by the `first` bit plane.
    """
    blocks, images, height, width = count.shape
    counts, starts = count.reshape(-1), start.reshape(-1)
    out_h, out_w, outputs = out.shape[1:]
    columns, places = _columns(cells), _places(cells)
    pass_size = cells.size // (biases.shape[0] * blocks * kernel_height)
    row_size = pass_size // block_rows
    flat = out.reshape(-1, outputs)
    for tile in range(biases.shape[0]):
        bias = (biases[tile, 0], biases[tile, 1])
        adc = (
            (multipliers[tile, 0], multipliers[tile, 1]),
            (shifts[tile, 0], shifts[tile, 1]),
            (real_biases[tile, 0], real_biases[tile, 1]),
            (inverses[tile, 0], inverses[tile, 1]),
            top,
        )
        passes = 0
        adds = (continued[tile, 0] or not first, continued[tile, 1] or not first)
        for block in range(blocks):
            for ky in range(kernel_height):
                base = ((tile * blocks + block) * kernel_height + ky) * pass_size
                for image in range(images):
                    for oy in range(out_h):
                        line = ((block * images + image) * height + oy * stride + ky) * width
                        target = (image * out_h + oy) * out_w
                        for x in range(width):
                            n = _element(counts, line + x)
                            if n == 0:
                                continue
                            _read_list(
                                cells, base + first_slot[x] * places, row_size, index,
                                _element(starts, line + x), n, segment, bias, n * pedestal, adc,
                                codes, (target + first_window[x]) * columns, slots[x],
                            )  # fmt: skip
                passes += 1
                if passes == flush_every:
                    _combine(
                        cells, codes, first_outputs[tile], widths[tile], factors[tile], weight,
                        adds, flat,
                    )  # fmt: skip
                    adds = (True, True)
                    passes = 0
        if passes > 0:
            _combine(
                cells, codes, first_outputs[tile], widths[tile], factors[tile], weight, adds, flat
            )


@inlined
def _window_sums(cells, w, stride, index, i, n, segment):
    """Sums of both halves for one window."""
    total = _halves(_start(cells, 0, 0))
    end = i + n
    while i < end:
        a = _start(cells, 0, 0)
        for j in range(i, min(i + segment, end)):
            a = _add_row(a, cells, w + _element(index, j) * stride)
        total = _add(total, _halves(a))
        i += segment
    return total


@kernel
def count_tiles(
    index, start, count, cells, block_rows, kernel_height, stride, out_h, first_slot, slots,
    slot_columns, segment, longest, bounds, widths, planes, sums, histogram,
):  # fmt: skip
    """Count the column sums above a bound, of several images and one bit plane.

    Parameters as in `read_tiles`, but:

    Parameters
    ----------
    cells : uint8 or uint16 (…,)
        Of ideal cells, without a pedestal.
    out_h : int
        Output height.
    segment : int
        At most `block_rows`.
    slot_columns : int64 (s,)
        Kernel column of each slot.
    longest : int64 (t,)
        A list of so many rows cannot exceed a bound of the tile; such lists are not even walked.
    bounds : int64 (t, 2)
        Of each half, below 2^16.
    planes : int64 (t, 2)
        Plane of each half.
    sums : uint16 (columns,)
        Scratch.
    histogram : int64 (row blocks, planes, largest sum + 1)
        How often each sum above its bound occurs; added to.
    """
    blocks, images, height, width = count.shape
    counts, starts = count.reshape(-1), start.reshape(-1)
    places, lanes = _places(cells), _columns(cells) // 2
    kernel_width = slot_columns.shape[0]
    pass_size = cells.size // (bounds.shape[0] * blocks * kernel_height)
    row_size = pass_size // block_rows
    for tile in range(bounds.shape[0]):
        for block in range(blocks):
            for ky in range(kernel_height):
                base = ((tile * blocks + block) * kernel_height + ky) * pass_size
                for image in range(images):
                    for oy in range(out_h):
                        line = ((block * images + image) * height + oy * stride + ky) * width
                        for x in range(width):
                            n = _element(counts, line + x)
                            if n <= longest[tile]:
                                continue
                            i = _element(starts, line + x)
                            for slot in range(first_slot[x], first_slot[x] + slots[x]):
                                total = _window_sums(
                                    cells, base + slot * places, row_size, index, i, n, segment
                                )
                                found = _exceeding(total, bounds[tile, 0], bounds[tile, 1])
                                if found == 0:
                                    continue
                                _store(total, sums)
                                row = (ky * kernel_width + slot_columns[slot]) * blocks + block
                                for half in range(2):
                                    if (found >> half) & 1:
                                        first = half * lanes
                                        _count_above(
                                            sums[first : first + widths[tile, half]],
                                            bounds[tile, half],
                                            histogram[row, planes[tile, half]],
                                        )


@inlined
def _count_above(sums, bound, histogram):
    for j in range(sums.shape[0]):
        if sums[j] > bound:
            histogram[np.int64(sums[j])] += 1
