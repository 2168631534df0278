"""Leaky integrate-and-fire neurons in fixed point.

p = positions (images × height × width), m = channels
"""

from __future__ import annotations

from imcsim.kernels._jit import kernel


@kernel
def lif_step(
    u, acc, identity, identity_current, threshold, bias, leak_multiplier, leak_shift,
    fraction_bits, membrane_bits, hard_reset, spikes,
):  # fmt: skip
    """Advance the membrane potentials by one timestep, in place.

    Eqs. (2)-(3) of Li et al., DAC 2023, in integers: ``v = leak(u) + (acc << F) + bias (+ identity
    current)`` with ``leak(u) = (u·m + 2^(n−1)) >> n``, clipped once to W bits; fires if v >
    threshold; then u = 0 (hard reset) or v − threshold (soft reset), else u = v.

    Parameters
    ----------
    u : int32 or int64 (p, m)
        Membrane potential in 2^−F accumulator LSB; overwritten.
    acc : int32 (p, m)
        Accumulated column sums of this timestep.
    identity : uint8 (p, m) or (0, m)
        Spikes of an identity shortcut; none if the first axis is empty.
    identity_current, threshold, bias : int32 (m,)
        In 2^−F accumulator LSB.
    leak_multiplier, leak_shift : int
        τ = m / 2^n.
    fraction_bits, membrane_bits : int
        F and W.
    hard_reset : bool
        Reset to 0, or by subtraction.
    spikes : uint8 (p, m)
        Output, 0 or 1; overwritten.

    Returns
    -------
    int
        How many potentials were clipped to W bits.
    """
    top = (1 << (membrane_bits - 1)) - 1
    bottom = -top - 1
    half = (1 << leak_shift) >> 1
    with_identity = identity.shape[0] > 0
    saturated = 0
    for p in range(u.shape[0]):
        for c in range(u.shape[1]):
            # int(): NumPy's own 32-bit scalars would overflow where Numba is switched off.
            v = (int(u[p, c]) * leak_multiplier + half) >> leak_shift
            v += (int(acc[p, c]) << fraction_bits) + int(bias[c])
            if with_identity and identity[p, c]:
                v += int(identity_current[c])
            if v > top:
                v = top
                saturated += 1
            elif v < bottom:
                v = bottom
                saturated += 1
            fires = v > threshold[c]
            spikes[p, c] = fires
            if fires:
                v = 0 if hard_reset else v - int(threshold[c])
            u[p, c] = v
    return saturated
