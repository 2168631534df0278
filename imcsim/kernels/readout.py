"""The arithmetic of the σ-E module: softmax and entropy of class scores from two look-up tables.

With d_i the distance of class i below the best one, Z = Σ exp(−d_i) and x_i = d_i + ln Z, softmax
and entropy (Eqs. (6)-(7) of Li et al., DAC 2023) are σ_i = exp(−x_i) and E = Σ σ_i·x_i: the same
exponential table serves both passes, and the logarithm is needed once, not once per class.
"""

from __future__ import annotations

from imcsim.kernels._jit import kernel


# One table step is the unit of d, ln Z and x.
@kernel
def _distance(difference, gain, shift, last):
    """Turn a score difference >= 0 into table steps, saturated at `last`."""
    # Compared before multiplying: a product that could overflow saturates anyway.
    if difference > ((last + 1) << shift) // gain:
        return last
    half = (1 << shift) >> 1
    return min((difference * gain + half) >> shift, last)


@kernel
def _log_partition(z, entropy_lut, mantissa_bits, fraction_bits):
    """ln(Z / 65535) in table steps: find the leading one, look up mantissa and exponent, add."""
    exponent = 15
    while z >> (exponent + 1):
        exponent += 1
    mantissa = ((z << mantissa_bits) >> exponent) - (1 << mantissa_bits)
    word = entropy_lut[mantissa] + entropy_lut[(1 << mantissa_bits) + exponent - 15]
    half = (1 << fraction_bits) >> 1
    return max((word + half) >> fraction_bits, 0)


@kernel
def _top_two(scores):
    """Index of the largest score (the lowest of equal ones) and its lead over the second largest.

    A single class leads by 0.
    """
    best = 0
    for i in range(1, scores.shape[0]):
        if scores[i] > scores[best]:
            best = i
    lead = scores[best] - scores[best]
    found = False
    for i in range(scores.shape[0]):
        difference = scores[best] - scores[i]
        if i != best and (not found or difference < lead):
            lead = difference
            found = True
    return best, lead


# n = images, k = classes
@kernel
def sigma_e(
    scores,
    gain,
    shift,
    sigma_lut,
    entropy_lut,
    mantissa_bits,
    fraction_bits,
    prediction,
    entropy,
    confidence,
    lead,
):
    """Evaluate the module once per image.

    Parameters
    ----------
    scores : int64 (n, k)
        Accumulated class scores, below 2^62 in magnitude, so that a difference fits 64 bits.
    gain, shift : int
        A difference of scores times `gain` / 2^`shift` is in table steps; the table's length times
        2^`shift` must stay below 2^62.
    sigma_lut : int64 (entries,)
        exp(−d) in 1/65535; index d in table steps. The first word is 65535, the last 0.
    entropy_lut : int64 (>= 2^mantissa_bits + 32,)
        Signed words of ln in 2^−`fraction_bits` table steps: first of the mantissas in [1, 2),
        then of 2^e / 65535 for e = 15, 16, ...
    mantissa_bits, fraction_bits : int
        See `entropy_lut`.
    prediction : int64 (n,)
        Output: the class with the largest score, the lowest of equal ones.
    entropy : int64 (n,)
        Output: Σ σ_i·x_i in 1/65535 table step; not divided by ln k.
    confidence : int64 (n,)
        Output: the largest σ_i in 1/65535.
    lead : int64 (n,)
        Output: largest minus second largest score.
    """
    last = sigma_lut.shape[0] - 1
    for image in range(scores.shape[0]):
        row = scores[image]
        best, lead[image] = _top_two(row)
        prediction[image] = best
        z = 0
        for i in range(row.shape[0]):
            z += sigma_lut[_distance(row[best] - row[i], gain, shift, last)]
        log_z = _log_partition(z, entropy_lut, mantissa_bits, fraction_bits)
        total = 0
        for i in range(row.shape[0]):
            x = _distance(row[best] - row[i], gain, shift, last) + log_z
            total += sigma_lut[min(x, last)] * x
        entropy[image] = total
        confidence[image] = sigma_lut[min(log_z, last)]
