from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.readout import sigma_e

WORDS = 1536
STEPS = 64
MANTISSA_BITS = 10
FRACTION_BITS = 4
EXTREME = 2**31


SIGMA_LUT = [round(65535 * math.exp(-d / STEPS)) for d in range(WORDS)]
LOG_UNIT = STEPS << FRACTION_BITS
ENTROPY_LUT = [
    round(LOG_UNIT * math.log1p((i + 0.5) / 2**MANTISSA_BITS)) for i in range(2**MANTISSA_BITS)
] + [round(LOG_UNIT * math.log(2 ** (15 + e) / 65535)) for e in range(32)]


def module_reference(scores: list[int], gain: int, shift: int) -> tuple[int, int, int, int]:
    """Prediction, entropy, confidence and lead, in Python's unbounded integers."""
    best = max(scores)
    half = 2**shift // 2
    distances = [min(((best - y) * gain + half) // 2**shift, WORDS - 1) for y in scores]
    z = sum(SIGMA_LUT[d] for d in distances)
    exponent = z.bit_length() - 1
    mantissa = (z << MANTISSA_BITS) // 2**exponent - 2**MANTISSA_BITS
    word = ENTROPY_LUT[mantissa] + ENTROPY_LUT[2**MANTISSA_BITS + exponent - 15]
    log_z = max((word + 2 ** (FRACTION_BITS - 1)) // 2**FRACTION_BITS, 0)
    sigma = [SIGMA_LUT[d + log_z] if d + log_z < WORDS else 0 for d in distances]
    entropy = sum(s * (d + log_z) for s, d in zip(sigma, distances, strict=True))
    confidence = SIGMA_LUT[log_z]
    second = sorted(scores)[-2] if len(scores) > 1 else best
    return scores.index(best), entropy, confidence, best - second


def run(scores: list[list[int]], gain: int, shift: int) -> list[tuple[int, int, int, int]]:
    outputs = np.full((4, len(scores)), -1, np.int64)
    sigma_e(
        np.array(scores, np.int64), gain, shift, np.array(SIGMA_LUT), np.array(ENTROPY_LUT),
        MANTISSA_BITS, FRACTION_BITS, *outputs,
    )  # fmt: skip
    return [tuple(column) for column in outputs.T.tolist()]


classes = st.integers(1, 12)
magnitudes = st.sampled_from([1, 20, 1000, 100_000, 4 * EXTREME])


@st.composite
def batches(draw: st.DrawFn) -> list[list[int]]:
    k, magnitude = draw(classes), draw(magnitudes)
    row = st.lists(st.integers(-magnitude, magnitude), min_size=k, max_size=k)
    return draw(st.lists(row, min_size=1, max_size=4))


@settings(deadline=None)
@given(scores=batches(), gain=st.integers(2**15, 2**16 - 1), shift=st.integers(0, 46))
def test_matches_unbounded_integers_bit_for_bit(
    scores: list[list[int]], gain: int, shift: int
) -> None:
    assert run(scores, gain, shift) == [module_reference(row, gain, shift) for row in scores]


@pytest.mark.parametrize("k", [2, 10, 257, 1000])
def test_matches_unbounded_integers_for_many_classes(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(-2000, 2000, (8, k)).tolist()
    assert run(scores, 33554, 17) == [module_reference(row, 33554, 17) for row in scores]


@pytest.mark.parametrize("gain, shift", [(2**15, 46), (2**15, 0), (2**16 - 1, 1)])
def test_scores_at_the_ends_of_the_range_do_not_overflow(gain: int, shift: int) -> None:
    end = 2**62 - 1
    rows = [[end, -end, 0], [EXTREME, -EXTREME, EXTREME - 1], [-end] * 3]
    assert run(rows, gain, shift) == [module_reference(row, gain, shift) for row in rows]


def test_of_equal_scores_the_lowest_class_is_predicted_without_a_lead() -> None:
    ((prediction, _, _, lead),) = run([[1, 7, 7, 3, 7]], 2**15, 15)
    assert (prediction, lead) == (1, 0)


def test_one_class_far_ahead_leaves_no_entropy() -> None:
    ((prediction, entropy, confidence, lead),) = run([[0, 0, 10**6, 0]], 2**15, 15)
    assert (prediction, entropy, confidence, lead) == (2, 0, 65535, 10**6)


def test_a_single_class_has_no_entropy() -> None:
    assert run([[-5]], 2**15, 15) == [(0, 0, 65535, 0)]


def test_adding_a_constant_to_all_scores_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(-500, 500, (20, 10))
    assert run(scores.tolist(), 40000, 18) == run((scores + 12345).tolist(), 40000, 18)
