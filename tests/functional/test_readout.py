from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.errors import FitError, MappingError, UsageError
from imcsim.functional.readout import ONE, ExitScores, SigmaETables, evaluate
from tests.reference.sigma_e import accumulated, normalised_entropy, softmax

SCALE = 0.004
"""Logit LSB of a typical 8-bit classifier."""
TABLE_BYTES = 3072


def tables(classes: int) -> SigmaETables:
    return SigmaETables(TABLE_BYTES, TABLE_BYTES, classes)


def draw(images: int, timesteps: int, classes: int, deviation: float) -> npt.NDArray[np.int64]:
    """Random scores whose sum over all timesteps has the given standard deviation [nat]."""
    rng = np.random.default_rng([images, timesteps, classes, round(100 * deviation)])
    real = rng.normal(0.0, deviation / math.sqrt(timesteps), (images, timesteps, classes))
    return np.rint(real / SCALE).astype(np.int64)


def raw_error(scores: ExitScores, exact: npt.NDArray[np.float64]) -> float:
    return float(np.abs(scores.entropy_raw / scores.entropy_scale - exact).max())


@pytest.mark.parametrize("deviation", [0.1, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("classes", [10, 100, 200])
@pytest.mark.parametrize("accumulate", ["sum", "mean"])
def test_entropy_is_within_a_hundredth_of_float64(
    classes: int, deviation: float, accumulate: str
) -> None:
    steps = draw(120, 4, classes, deviation)
    scores = evaluate(steps, SCALE, accumulate, tables(classes))
    exact = normalised_entropy(accumulated(steps, SCALE, accumulate))
    assert raw_error(scores, exact) < 0.01
    np.testing.assert_allclose(scores.entropy, exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("classes", [10, 100, 200])
def test_entropy_of_equal_scores_is_one(classes: int) -> None:
    scores = evaluate(np.full((1, 4, classes), -77), SCALE, "sum", tables(classes))
    assert raw_error(scores, np.ones((1, 4))) < 0.01
    assert scores.entropy.max() <= 1.0
    np.testing.assert_array_equal(scores.predictions, 0)
    np.testing.assert_array_equal(scores.margin, 0.0)


@pytest.mark.parametrize("classes", [10, 100, 200])
def test_a_certain_class_has_entropy_zero_and_confidence_one(classes: int) -> None:
    one_hot = np.zeros((1, 1, classes), np.int64)
    one_hot[..., 5] = 10_000
    scores = evaluate(one_hot, SCALE, "sum", tables(classes))
    assert (scores.predictions, scores.entropy, scores.confidence) == (5, 0.0, 1.0)
    assert scores.margin == pytest.approx(40.0)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_confidence_and_margin_agree_with_float64(classes: int) -> None:
    steps = draw(500, 3, classes, 3.0)
    scores = evaluate(steps, SCALE, "mean", tables(classes))
    real = accumulated(steps, SCALE, "mean")
    # ln Z is rounded to 1/64 nat, and d of the other classes is too.
    np.testing.assert_allclose(scores.confidence, softmax(real).max(axis=-1), rtol=0.02)
    ordered = np.sort(real, axis=-1)
    np.testing.assert_allclose(scores.margin, ordered[..., -1] - ordered[..., -2], atol=1e-9)
    np.testing.assert_array_equal(scores.predictions, real.argmax(axis=-1))


def test_thresholds_decide_like_float64_for_99_of_100_images() -> None:
    steps = draw(4000, 4, 10, 6.0)
    scores = evaluate(steps, SCALE, "sum", tables(10))
    exact = normalised_entropy(accumulated(steps, SCALE, "sum"))
    for theta in (0.05, 0.2, 0.4):
        quantised = scores.entropy_raw < round(theta * scores.entropy_scale)
        assert np.mean(quantised == (exact < theta)) >= 0.99


def test_entropy_falls_and_confidence_rises_as_one_class_pulls_ahead() -> None:
    lead = np.arange(0, 3000, 25)
    steps = np.zeros((lead.size, 1, 10), np.int64)
    steps[:, 0, 3] = lead
    scores = evaluate(steps, SCALE, "sum", tables(10))
    # Neighbouring table words may swap by their rounding, by no more than half a step of 1/64 nat.
    assert np.diff(scores.entropy[:, 0]).max() < 0.5 / 64
    assert np.diff(scores.confidence[:, 0]).min() >= 0
    assert scores.entropy[-1, 0] < 0.01 < 0.9 < scores.entropy[0, 0]


def test_the_sum_sharpens_with_time_and_the_mean_does_not() -> None:
    same = np.tile(draw(50, 1, 10, 1.0), (1, 4, 1))
    mean = evaluate(same, SCALE, "mean", tables(10))
    total = evaluate(same, SCALE, "sum", tables(10))
    np.testing.assert_allclose(mean.entropy, mean.entropy[:, :1] * np.ones(4), atol=0.005)
    assert (np.diff(total.entropy, axis=1) < 0).all()
    np.testing.assert_array_equal(mean.predictions, total.predictions)
    np.testing.assert_array_equal(mean.entropy_raw[:, 0], total.entropy_raw[:, 0])


def test_int32_logits_at_their_limits_are_accumulated_exactly() -> None:
    extreme = np.array([[[2**31 - 1, -(2**31), 0]] * 4], np.int32)
    scores = evaluate(extreme, 1.0, "sum", tables(3))
    np.testing.assert_array_equal(scores.margin[0], (2**31 - 1) * np.arange(1, 5))
    np.testing.assert_array_equal(scores.entropy, 0.0)


def test_a_single_class_is_certain() -> None:
    scores = evaluate(np.array([[[3], [-8]]]), SCALE, "sum", tables(1))
    np.testing.assert_array_equal(scores.entropy, 0.0)
    np.testing.assert_array_equal(scores.confidence, 1.0)
    assert scores.entropy_scale > 0


@settings(deadline=None)
@given(
    step=st.floats(1e-9, 0.999 * 24),
    table_bytes=st.sampled_from([48, 1000, TABLE_BYTES, 1 << 20]),
)
def test_the_gain_is_16_bits_and_within_two_to_the_minus_15(step: float, table_bytes: int) -> None:
    table = SigmaETables(table_bytes, TABLE_BYTES, 10)
    gain, shift = table.multiplier(step)
    factor = min(step, 24.0) * table.steps_per_nat
    assert 2**15 <= gain < 2**16
    assert 0 <= shift <= 46
    assert gain / 2**shift == pytest.approx(factor, rel=2**-15)


def test_scores_coarser_than_the_table_saturate() -> None:
    table = tables(10)
    assert table.multiplier(1e9) == table.multiplier(24.0)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, 1e-30])
def test_scores_that_the_gain_cannot_represent_do_not_fit(step: float) -> None:
    with pytest.raises(FitError, match="one step of the class scores is worth"):
        tables(10).multiplier(step)


def test_three_kilobytes_hold_1536_words_of_a_64th_nat() -> None:
    table = tables(10)
    assert (table.sigma_lut.size, table.steps_per_nat) == (1536, 64)
    assert table.entropy_lut.size <= 1536
    assert (table.sigma_lut[0], table.sigma_lut[64], table.sigma_lut[-1]) == (
        ONE,
        round(ONE / math.e),
        0,
    )


@pytest.mark.parametrize("sigma_bytes", [48, 200, TABLE_BYTES, 1 << 20])
@pytest.mark.parametrize("entropy_bytes", [66, 500, TABLE_BYTES, 1 << 20])
def test_tables_of_any_size_hold_16_bit_words(sigma_bytes: int, entropy_bytes: int) -> None:
    table = SigmaETables(sigma_bytes, entropy_bytes, 10)
    assert 2 * table.sigma_lut.size <= sigma_bytes
    assert 2 * table.entropy_lut.size <= entropy_bytes
    assert table.sigma_lut.max() == 65535
    assert table.sigma_lut[-1] == 0
    assert np.abs(table.entropy_lut).max() <= 32767


def test_larger_tables_come_closer() -> None:
    steps = draw(300, 1, 10, 1.0)
    exact = normalised_entropy(accumulated(steps, SCALE, "sum"))
    errors = [
        raw_error(evaluate(steps, SCALE, "sum", SigmaETables(size, size, 10)), exact)
        for size in (192, 768, 3072, 12288)
    ]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("sizes, key", [((46, 3072), "sigma_lut"), ((3072, 64), "entropy_lut")])
def test_a_table_that_is_too_small_is_refused_by_its_key(sizes: tuple[int, int], key: str) -> None:
    with pytest.raises(MappingError, match=rf"sigma_e\.{key}_bytes is .* needs at least"):
        SigmaETables(*sizes, 10)


def test_an_unknown_way_to_accumulate_is_refused() -> None:
    with pytest.raises(UsageError, match='accumulate is "max", it can be "sum" or "mean"'):
        evaluate(np.zeros((1, 1, 10), np.int64), SCALE, "max", tables(10))  # type: ignore[arg-type]


def test_tables_for_another_number_of_classes_are_a_bug() -> None:
    with pytest.raises(ValueError, match="scores of 9 classes, tables for 10"):
        evaluate(np.zeros((1, 1, 9), np.int64), SCALE, "sum", tables(10))


def test_no_images_give_empty_scores() -> None:
    scores = evaluate(np.zeros((0, 4, 10), np.int64), SCALE, "sum", tables(10))
    assert (scores.images, scores.timesteps) == (0, 4)
