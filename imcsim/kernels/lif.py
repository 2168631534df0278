"""Leaky integrate-and-fire neurons in fixed point.

n = images, p = positions (height × width), m = channels
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from imcsim.kernels._jit import kernel

LANES = 32
"""Neurons that `lif_step_32` advances together."""


@kernel
def lif_step(
    u, acc, identity, identity_current, threshold, bias, leak_multiplier, leak_shift,
    fraction_bits, membrane_bits, hard_reset, spikes, saturated, sent,
):  # fmt: skip
    """Advance the membrane potentials by one timestep, in place.

    Eqs. (2)-(3) of Li et al., DAC 2023, in integers: ``v = leak(u) + (acc << F) + bias (+ identity
    current)`` with ``leak(u) = (u·m + 2^(n−1)) >> n``, clipped once to W bits; fires if v >
    threshold; then u = 0 (hard reset) or v − threshold (soft reset), else u = v.

    Parameters
    ----------
    u : int32 or int64 (n, p, m)
        Membrane potential in 2^−F accumulator LSB; overwritten.
    acc : int32 (n, p, m)
        Accumulated column sums of this timestep.
    identity : uint8 (n, p, m) or (0, p, m)
        Spikes of an identity shortcut; none if the first axis is empty.
    identity_current, threshold, bias : int32 (m,)
        In 2^−F accumulator LSB.
    leak_multiplier, leak_shift : int
        τ = m / 2^n.
    fraction_bits, membrane_bits : int
        F and W.
    hard_reset : bool
        Reset to 0, or by subtraction.
    spikes : uint8 (n, p, m)
        Output, 0 or 1; overwritten.
    saturated, sent : int64 (n,)
        Output: potentials clipped to W bits, and spikes.
    """
    top = (1 << (membrane_bits - 1)) - 1
    bottom = -top - 1
    half = (1 << leak_shift) >> 1
    with_identity = identity.shape[0] > 0
    for image in range(u.shape[0]):
        clipped = fired = 0
        for p in range(u.shape[1]):
            for c in range(u.shape[2]):
                # int(): NumPy's own 32-bit scalars would overflow where Numba is switched off.
                v = (int(u[image, p, c]) * leak_multiplier + half) >> leak_shift
                v += (int(acc[image, p, c]) << fraction_bits) + int(bias[c])
                if with_identity and identity[image, p, c]:
                    v += int(identity_current[c])
                if v > top:
                    v = top
                    clipped += 1
                elif v < bottom:
                    v = bottom
                    clipped += 1
                fires = v > threshold[c]
                spikes[image, p, c] = fires
                if fires:
                    v = 0 if hard_reset else v - int(threshold[c])
                    fired += 1
                u[image, p, c] = v
        saturated[image] = clipped
        sent[image] = fired


def fits_32_bits(
    channels: int, leak_multiplier: int, fraction_bits: int, membrane_bits: int,
    largest_current: int,
) -> bool:  # fmt: skip
    """True if `lif_step_32` gives what `lif_step` does: all but ``acc << F`` stays within 2^28,
    whatever the potential; `largest_current` bounds bias and identity current together."""
    leaking = leak_multiplier << (membrane_bits - 1)
    fits = leaking + largest_current < 1 << 28 and fraction_bits <= 16
    return fits and channels % LANES == 0


@intrinsic
def _advance(
    typing, u, acc, identity, spikes, at, identity_current, threshold, bias, c, multiplier, shift,
    fraction, membrane, hard_reset,
):  # fmt: skip
    """`LANES` neurons at flat place `at`, channels from `c` on: the equations of `lif_step`.

    Returns ``clipped << 32 | fired``.
    """
    arrays = (u, acc, identity, spikes, identity_current, threshold, bias)

    def generate(context, builder, signature, args):
        word, byte = ir.IntType(32), ir.IntType(8)
        words, flags = ir.VectorType(word, LANES), ir.VectorType(byte, LANES)

        def pointer(place, index, kind):
            data = context.make_array(signature.args[place])(context, builder, args[place]).data
            return builder.bitcast(builder.gep(data, [args[index]]), kind.as_pointer())

        def load(place, index, kind=words):
            return builder.load(pointer(place, index, kind), align=1)

        def splat(value):
            value = builder.trunc(value, word) if value.type.width > 32 else value
            none = ir.Constant(words, ir.Undefined)
            first = builder.insert_element(none, value, ir.Constant(word, 0))
            return builder.shuffle_vector(first, none, ir.Constant(words, None))

        def same(value):
            return ir.Constant(words, [value] * LANES)

        def least(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        def most(a, b):
            return builder.select(builder.icmp_signed(">", a, b), a, b)

        def ones(mask):
            count = builder.ctpop(builder.bitcast(mask, ir.IntType(LANES)))
            return builder.zext(count, ir.IntType(64))

        one = ir.Constant(ir.IntType(64), 1)
        half = builder.lshr(builder.shl(one, args[10]), one)
        largest = builder.shl(one, builder.sub(ir.Constant(one.type, 30), args[11]))
        top = builder.sub(builder.shl(one, builder.sub(args[12], one)), one)
        leaked = builder.add(builder.mul(load(0, 4), splat(args[9])), splat(half))
        v = builder.ashr(leaked, splat(args[10]))
        current = most(least(load(1, 4), splat(largest)), splat(builder.neg(largest)))
        v = builder.add(v, builder.add(builder.shl(current, splat(args[11])), load(7, 8)))
        before = builder.block
        present = context.make_array(identity)(context, builder, args[2]).nitems
        with builder.if_then(builder.icmp_signed("!=", present, ir.Constant(present.type, 0))):
            arrived = builder.zext(load(2, 4, flags), words)
            driven = builder.add(v, builder.mul(arrived, load(5, 8)))
            driven_from = builder.block
        total = builder.phi(words)
        total.add_incoming(v, before)
        total.add_incoming(driven, driven_from)
        bounded = least(most(total, splat(builder.not_(top))), splat(top))
        limit = load(6, 8)
        fires = builder.icmp_signed(">", bounded, limit)
        left = builder.select(args[13], same(0), builder.sub(bounded, limit))
        builder.store(builder.select(fires, left, bounded), pointer(0, 4, words), align=1)
        builder.store(builder.zext(fires, flags), pointer(3, 4, flags), align=1)
        clipped = ones(builder.icmp_signed("!=", bounded, total))
        return builder.or_(builder.shl(clipped, ir.Constant(one.type, 32)), ones(fires))

    numbers = (types.int64,) * 5
    places = (*arrays[:4], types.int64, *arrays[4:], *numbers, types.boolean)
    return types.int64(*places), generate


if numba.config.DISABLE_JIT:

    def _advance(
        u, acc, identity, spikes, at, identity_current, threshold, bias, c, multiplier, shift,
        fraction, membrane, hard_reset,
    ):  # fmt: skip
        place, channels = slice(at, at + LANES), slice(c, c + LANES)
        v = (u[place].astype(np.int64) * multiplier + (1 << shift >> 1)) >> shift
        v += (acc[place].astype(np.int64) << fraction) + bias[channels]
        if identity.size:
            v += identity[place] * identity_current[channels].astype(np.int64)
        top = (1 << (membrane - 1)) - 1
        bounded = np.clip(v, -top - 1, top)
        fires = bounded > threshold[channels]
        left = 0 if hard_reset else bounded - threshold[channels]
        u[place] = np.where(fires, left, bounded)
        spikes[place] = fires
        return (int((bounded != v).sum()) << 32) | int(fires.sum())


@kernel
def lif_step_32(
    u, acc, identity, identity_current, threshold, bias, leak_multiplier, leak_shift,
    fraction_bits, membrane_bits, hard_reset, spikes, saturated, sent,
):  # fmt: skip
    """`lif_step` in vectors of 32-bit integers: only where `fits_32_bits`, and for a multiple of
    `LANES` channels.

    An accumulator beyond ±2^(30 − F) is cut off there: the potential is clipped all the same.
    """
    images, positions, channels = u.shape
    potentials, sums, arrived = u.reshape(-1), acc.reshape(-1), identity.reshape(-1)
    outgoing = spikes.reshape(-1)
    for image in range(images):
        both = 0
        for p in range(image * positions, (image + 1) * positions):
            for c in range(0, channels, LANES):
                both += _advance(
                    potentials, sums, arrived, outgoing, p * channels + c, identity_current,
                    threshold, bias, c, leak_multiplier, leak_shift, fraction_bits, membrane_bits,
                    hard_reset,
                )  # fmt: skip
        saturated[image] = both >> 32
        sent[image] = both & 0xFFFFFFFF
