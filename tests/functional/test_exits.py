from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.errors import UsageError
from imcsim.functional.exits import (
    POLICIES,
    THRESHOLD_POLICIES,
    ExitPolicy,
    calibrate_threshold,
    decide,
    predictions_at,
    thresholds_for_curve,
)
from imcsim.functional.readout import ExitScores, SigmaETables, evaluate
from tests.reference.sigma_e import accumulated, first_exit, normalised_entropy, softmax

SCALE = 0.004
CLASSES = 10
Labels = npt.NDArray[np.int64]


def made_up(entropy: list[list[int]], predictions: list[list[int]] | None = None) -> ExitScores:
    """Scores with the given entropy in hundredths; confidence and margin mirror it."""
    raw = np.array(entropy, np.int64)
    certain = 1.0 - raw / 100
    predicted = np.zeros_like(raw) if predictions is None else np.array(predictions, np.int64)
    return ExitScores(predicted, raw, raw / 100, certain, certain * 10, entropy_scale=100.0)


def realistic(images: int = 400, timesteps: int = 4) -> tuple[npt.NDArray[np.int64], Labels]:
    """Per-timestep scores that favour the label more or less, with noise at every timestep."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, CLASSES, images)
    ease = rng.gamma(2.0, 1.0, images)
    real = rng.normal(0.0, 1.0, (images, timesteps, CLASSES))
    real[np.arange(images), :, labels] += ease[:, None]
    return np.rint(real / SCALE).astype(np.int64), labels


@pytest.fixture(scope="module")
def evaluated() -> tuple[ExitScores, Labels]:
    steps, labels = realistic()
    return evaluate(steps, SCALE, "sum", SigmaETables(3072, 3072, CLASSES)), labels


def mean_and_accuracy(
    policy: ExitPolicy, scores: ExitScores, labels: Labels
) -> tuple[float, float]:
    steps = decide(policy, scores, labels, scores.timesteps)
    return float(steps.mean()), float((predictions_at(scores, steps) == labels).mean())


def test_each_image_exits_at_its_first_entropy_below_the_threshold() -> None:
    scores = made_up([[10, 50, 50], [50, 10, 50], [50, 50, 10], [50, 50, 50]])
    steps = decide(ExitPolicy.of("entropy", 0.2), scores, None, 3)
    np.testing.assert_array_equal(steps, [1, 2, 3, 3])


def test_a_score_exactly_at_the_threshold_does_not_exit() -> None:
    scores = made_up([[20, 19], [75, 0]])
    assert decide(ExitPolicy.of("entropy", 0.2), scores, None, 2).tolist() == [2, 2]
    assert decide(ExitPolicy.of("confidence", 0.8), scores, None, 2).tolist() == [2, 2]
    assert decide(ExitPolicy.of("margin", 2.5), scores, None, 2).tolist() == [1, 2]
    assert decide(ExitPolicy.of("margin", 8.0), scores, None, 2).tolist() == [2, 2]


@pytest.mark.parametrize(
    "policy",
    [
        ExitPolicy.of("static"),
        ExitPolicy.of("entropy", 0.0),
        ExitPolicy.of("confidence", 1.0),
        ExitPolicy.of("margin", 1e300),
    ],
)
def test_without_early_exits_every_image_takes_the_last_step(
    policy: ExitPolicy, evaluated: tuple[ExitScores, Labels]
) -> None:
    scores, labels = evaluated
    for timesteps in (1, 2, 4):
        steps = decide(policy, scores, labels, timesteps)
        np.testing.assert_array_equal(steps, timesteps)


def test_the_oracle_exits_at_the_first_right_prediction_and_else_last() -> None:
    scores = made_up([[0, 0, 0]] * 3, [[1, 4, 1], [4, 1, 4], [1, 1, 1]])
    steps = decide(ExitPolicy.of("oracle"), scores, np.array([4, 4, 4]), 3)
    np.testing.assert_array_equal(steps, [2, 1, 3])


def test_no_policy_is_more_accurate_at_fewer_steps_than_the_oracle(
    evaluated: tuple[ExitScores, Labels],
) -> None:
    scores, labels = evaluated
    _, best = mean_and_accuracy(ExitPolicy.of("oracle"), scores, labels)
    for name in THRESHOLD_POLICIES:
        for theta in thresholds_for_curve(scores, name, 9):
            _, accuracy = mean_and_accuracy(ExitPolicy.of(name, float(theta)), scores, labels)
            assert accuracy <= best


def test_every_timestep_may_have_its_own_threshold() -> None:
    scores = made_up([[30, 30, 30], [5, 30, 30]])
    for theta in ([0.1, 0.4], [0.1, 0.4, 0.0]):
        steps = decide(ExitPolicy.of("entropy", theta), scores, None, 3)
        np.testing.assert_array_equal(steps, [2, 1])


def test_a_list_of_one_threshold_is_that_threshold() -> None:
    assert ExitPolicy.of("margin", [2.0]) == ExitPolicy.of("margin", 2.0)


def test_with_one_timestep_every_policy_takes_it(evaluated: tuple[ExitScores, Labels]) -> None:
    scores, labels = evaluated
    for name in POLICIES:
        theta = 0.5 if name in THRESHOLD_POLICIES else None
        np.testing.assert_array_equal(decide(ExitPolicy.of(name, theta), scores, labels, 1), 1)


@pytest.mark.parametrize("accumulate", ["sum", "mean"])
def test_exits_agree_with_float64_for_99_of_100_images(accumulate: str) -> None:
    steps, _ = realistic(images=2000)
    scores = evaluate(steps, SCALE, accumulate, SigmaETables(3072, 3072, CLASSES))
    real = accumulated(steps, SCALE, accumulate)
    entropy, confidence = normalised_entropy(real), softmax(real).max(axis=-1)
    ordered = np.sort(real, axis=-1)
    accepted = {
        "entropy": entropy < 0.3,
        "confidence": confidence > 0.85,
        "margin": ordered[..., -1] - ordered[..., -2] > 2.0,
    }
    for name, theta in (("entropy", 0.3), ("confidence", 0.85), ("margin", 2.0)):
        expected = [first_exit(row) for row in accepted[name].tolist()]
        taken = decide(ExitPolicy.of(name, theta), scores, None, 4)
        assert np.mean(taken == expected) >= 0.99, name


rows = st.lists(st.integers(0, 100), min_size=3, max_size=3)


@settings(deadline=None)
@given(entropy=st.lists(rows, min_size=1, max_size=8), theta=st.integers(0, 100))
def test_a_more_eager_threshold_never_takes_longer(entropy: list[list[int]], theta: int) -> None:
    scores = made_up(entropy)
    reluctant = decide(ExitPolicy.of("entropy", theta / 100), scores, None, 3)
    eager = decide(ExitPolicy.of("entropy", min(theta + 10, 100) / 100), scores, None, 3)
    assert (eager <= reluctant).all()
    expected = [first_exit([value < theta for value in row]) for row in entropy]
    assert reluctant.tolist() == expected


@pytest.mark.parametrize("name", THRESHOLD_POLICIES)
def test_a_curve_runs_from_no_early_exit_to_all_images_leaving_at_once(
    name: str, evaluated: tuple[ExitScores, Labels]
) -> None:
    scores, labels = evaluated
    thetas = thresholds_for_curve(scores, name, 11)
    means = [
        mean_and_accuracy(ExitPolicy.of(name, float(theta)), scores, labels)[0] for theta in thetas
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] == 4.0
    # A tie has no margin at all and stays even at θ = 0.
    assert means[-1] == pytest.approx(1.0, abs=0.01)
    assert 5 <= len(thetas) <= 11
    assert (np.diff(thetas) > 0).all() if name == "entropy" else (np.diff(thetas) < 0).all()


def test_a_curve_over_one_timestep_is_a_single_valid_threshold() -> None:
    for name in THRESHOLD_POLICIES:
        thetas = thresholds_for_curve(made_up([[10], [20]]), name, 5)
        assert thetas.tolist() == [0.0]
        ExitPolicy.of(name, float(thetas[0]))


def slow_calibration(
    name: str, scores: ExitScores, labels: Labels, accuracy: float
) -> tuple[float, float]:
    """Fewest mean timesteps and their best accuracy, by trying every threshold that matters."""
    entropies = np.append(scores.entropy_raw, scores.entropy_raw.max() + 1) / scores.entropy_scale
    values = {
        "entropy": np.minimum(entropies, 1.0),
        "confidence": np.append(scores.confidence, 0.0),
        "margin": np.append(scores.margin, 0.0),
    }[name]
    tried = [
        mean_and_accuracy(ExitPolicy.of(name, float(theta)), scores, labels)
        for theta in np.unique(values)
    ]
    mean, negated = min((mean, -reached) for mean, reached in tried if reached >= accuracy - 1e-12)
    return mean, -negated


@pytest.mark.parametrize("name", THRESHOLD_POLICIES)
@pytest.mark.parametrize("share_of_static", [0.9, 0.98, 1.0])
def test_calibration_finds_what_trying_every_threshold_finds(
    name: str, share_of_static: float, evaluated: tuple[ExitScores, Labels]
) -> None:
    every, all_labels = evaluated
    scores = ExitScores(
        *(getattr(every, field)[:120] for field in (
            "predictions", "entropy_raw", "entropy", "confidence", "margin",
        )),
        entropy_scale=every.entropy_scale,
    )  # fmt: skip
    labels = all_labels[:120]
    _, static = mean_and_accuracy(ExitPolicy.of("static"), scores, labels)
    target = share_of_static * static
    theta = calibrate_threshold(name, scores, labels, target)
    found = mean_and_accuracy(ExitPolicy.of(name, theta), scores, labels)
    assert found == slow_calibration(name, scores, labels, target)


@settings(deadline=None)
@given(data=st.data())
def test_calibration_on_tiny_sets_with_ties_finds_the_optimum(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    coarse = st.lists(st.sampled_from([0, 20, 50, 100, 103]), min_size=3, max_size=3)
    answers = st.lists(st.integers(0, 1), min_size=3, max_size=3)
    scores = made_up(
        data.draw(st.lists(coarse, min_size=n, max_size=n)),
        data.draw(st.lists(answers, min_size=n, max_size=n)),
    )
    scores.confidence.clip(0, 1, out=scores.confidence)
    scores.margin.clip(0, None, out=scores.margin)
    labels = np.ones(n, np.int64)
    _, static = mean_and_accuracy(ExitPolicy.of("static"), scores, labels)
    for name in THRESHOLD_POLICIES:
        theta = calibrate_threshold(name, scores, labels, static)
        found = mean_and_accuracy(ExitPolicy.of(name, theta), scores, labels)
        assert found == slow_calibration(name, scores, labels, static)


def test_an_accuracy_out_of_reach_is_refused_with_the_best_one() -> None:
    scores = made_up([[10, 10], [20, 20]], [[1, 1], [0, 0]])
    with pytest.raises(UsageError, match=r"reaches an accuracy of 0\.9 .* the best is 0\.5"):
        calibrate_threshold("entropy", scores, np.array([1, 1]), 0.9)


def test_calibration_without_images_is_refused() -> None:
    scores = evaluate(np.zeros((0, 4, 10), np.int64), SCALE, "sum", SigmaETables(3072, 3072, 10))
    with pytest.raises(UsageError, match="without images"):
        calibrate_threshold("entropy", scores, np.zeros(0, np.int64), 0.9)


@pytest.mark.parametrize("name", ["static", "oracle"])
def test_policies_without_a_threshold_can_be_neither_calibrated_nor_drawn(name: str) -> None:
    scores = made_up([[10, 10]])
    with pytest.raises(UsageError, match=f"{name} has no threshold"):
        calibrate_threshold(name, scores, np.array([0]), 0.5)
    with pytest.raises(UsageError, match=f"{name} has no threshold"):
        thresholds_for_curve(scores, name, 5)
    with pytest.raises(UsageError, match=f"{name} takes no threshold"):
        ExitPolicy.of(name, 0.5)


def test_a_curve_of_one_point_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2 points, not 1"):
        thresholds_for_curve(made_up([[10, 10]]), "entropy", 1)


def test_an_unknown_policy_is_refused_with_the_likely_one() -> None:
    with pytest.raises(UsageError, match=r'no exit policy "entrpy", did you mean "entropy"\?'):
        ExitPolicy.of("entrpy", 0.1)
    with pytest.raises(UsageError, match=r'"xyz" \(there are static, entropy, .*oracle\)'):
        ExitPolicy.of("xyz")


@pytest.mark.parametrize("name", ["entropy", "confidence"])
@pytest.mark.parametrize("theta", [-0.1, 1.1, math.nan, math.inf])
def test_a_threshold_outside_0_to_1_is_refused(name: str, theta: float) -> None:
    with pytest.raises(UsageError, match=f"policy {name} must be between 0 and 1"):
        ExitPolicy.of(name, [0.5, theta])


@pytest.mark.parametrize("theta", [-0.1, math.nan, math.inf])
def test_a_margin_below_zero_is_refused(theta: float) -> None:
    with pytest.raises(UsageError, match="policy margin must be 0 or more"):
        ExitPolicy.of("margin", theta)


@pytest.mark.parametrize("theta", [None, []])
def test_a_missing_threshold_is_refused(theta: list[float] | None) -> None:
    with pytest.raises(UsageError, match="confidence needs a threshold"):
        ExitPolicy.of("confidence", theta)


def test_a_wrong_number_of_thresholds_is_refused() -> None:
    policy = ExitPolicy.of("entropy", [0.1, 0.2])
    with pytest.raises(UsageError, match=r"2 thresholds for 4 timesteps: give one, 3 .* or 4"):
        decide(policy, made_up([[10] * 4]), None, 4)


def test_an_oracle_without_labels_is_refused() -> None:
    with pytest.raises(UsageError, match="oracle needs labels"):
        decide(ExitPolicy.of("oracle"), made_up([[10, 10]]), None, 2)


def test_more_timesteps_than_were_evaluated_are_a_bug() -> None:
    with pytest.raises(ValueError, match="5 timesteps asked for, 2 evaluated"):
        decide(ExitPolicy.of("static"), made_up([[10, 10]]), None, 5)
