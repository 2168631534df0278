"""Accuracies, iso-accuracy curves and calibrated thresholds against image-by-image twins."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.errors import UsageError
from imcsim.functional.exits import (
    THRESHOLD_POLICIES,
    ExitPolicy,
    calibrate_threshold,
    decide,
    predictions_at,
)
from imcsim.functional.readout import Accumulate, ExitScores, SigmaETables, evaluate
from imcsim.functional.thresholds import (
    LUT_BYTES,
    READOUTS,
    average_exit_time,
    calibrate_all,
    exit_accuracies,
    iso_accuracy_curve,
    right_predictions,
    static_accuracies,
)
from imcsim.network.reference import run_reference
from imcsim.network.workload import read_workload
from tests.functional.test_exits import SCALE, realistic

IntArray = npt.NDArray[np.int64]
WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"
each_policy = pytest.mark.parametrize("policy", THRESHOLD_POLICIES)
each_readout = pytest.mark.parametrize("accumulate", READOUTS)


def drawn(seed: int, images: int, timesteps: int) -> tuple[IntArray, IntArray]:
    """Few different scores, so that ties and lost right predictions are common."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (images, timesteps, 3)) * 300, rng.integers(0, 3, images)


small_sets = st.builds(drawn, st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5))


def exit_scores(logits: IntArray, accumulate: Accumulate) -> ExitScores:
    return evaluate(logits, SCALE, accumulate, SigmaETables(LUT_BYTES, LUT_BYTES, logits.shape[2]))


def operating_point(
    policy: str, theta: float, scores: ExitScores, labels: IntArray
) -> tuple[float, float]:
    """Mean timesteps and accuracy, by `decide`."""
    steps = decide(ExitPolicy.of(policy, theta), scores, labels, scores.timesteps)
    return float(steps.mean()), float((predictions_at(scores, steps) == labels).mean())


def right_by_hand(logits: IntArray, labels: IntArray) -> list[list[bool]]:
    """Per image and timestep, one number at a time."""
    rows = []
    for image, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = [0] * len(image[0])
        row = []
        for step in image:
            total = [a + b for a, b in zip(total, step, strict=True)]
            row.append(total.index(max(total)) == label)
        rows.append(row)
    return rows


@given(small_sets)
def test_static_accuracies_are_those_of_a_plain_loop(drawing: tuple[IntArray, IntArray]) -> None:
    logits, labels = drawing
    rows = right_by_hand(logits, labels)
    shares = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    assert static_accuracies(logits, labels) == [round(share, 6) for share in shares]
    assert static_accuracies(logits.astype(np.float32), labels) == static_accuracies(logits, labels)
    assert right_predictions(logits, labels).tolist() == rows


@given(small_sets)
def test_the_oracle_and_aet_are_those_of_a_plain_loop(drawing: tuple[IntArray, IntArray]) -> None:
    """AET counts one timestep per image and one more per wrong prediction before the last."""
    logits, labels = drawing
    rows = right_by_hand(logits, labels)
    last = logits.shape[1]
    found = average_exit_time(logits, labels)
    firsts = [row.index(True) + 1 if any(row) else last for row in rows]
    assert found.oracle_timesteps_mean == pytest.approx(sum(firsts) / len(rows))
    assert found.oracle_accuracy == pytest.approx(sum(any(row) for row in rows) / len(rows))
    wrong_early = sum(not right for row in rows for right in row[:-1])
    assert found.average_exit_time == pytest.approx(1 + wrong_early / len(rows))
    assert found.average_exit_time >= found.oracle_timesteps_mean - 1e-12


def test_the_oracle_is_the_exit_policy_of_that_name() -> None:
    logits, labels = realistic()
    scores = exit_scores(logits, "sum")
    steps = decide(ExitPolicy.of("oracle"), scores, labels, 4)
    found = average_exit_time(logits, labels)
    assert found.oracle_timesteps_mean == steps.mean()
    assert found.oracle_accuracy == (predictions_at(scores, steps) == labels).mean()


def test_aet_follows_its_formula_where_predictions_are_lost_again() -> None:
    """Accuracies 1/2, 0, 1/2 of T = 3: 1·0.5 − 2·0.5 + 3·0.5 + 3·0.5 = 2.5; the oracle takes 2."""
    logits = np.array([[[2, 0], [0, 3], [4, 0]], [[0, 1], [0, 1], [0, 1]]])
    found = average_exit_time(logits, np.array([0, 0]))
    assert (found.average_exit_time, found.oracle_timesteps_mean) == (2.5, 2.0)
    assert found.oracle_accuracy == 0.5


@each_policy
@each_readout
@given(drawing=small_sets)
def test_a_curve_holds_exactly_the_operating_points_of_all_thresholds(
    policy: str, accumulate: Accumulate, drawing: tuple[IntArray, IntArray]
) -> None:
    logits, labels = drawing
    scores = exit_scores(logits, accumulate)
    curve = iso_accuracy_curve(policy, accumulate, logits, labels, SCALE)
    points = list(zip(curve.timesteps_mean, curve.accuracy, strict=True))
    for theta, point in zip(curve.theta, points, strict=True):
        assert operating_point(policy, float(theta), scores, labels) == pytest.approx(point)
    # Between all scores, at them, and beyond both ends: the thresholds that can be given.
    seen = {"entropy": scores.entropy, "confidence": scores.confidence, "margin": scores.margin}
    values = np.unique(seen[policy])
    tried = [0.0, 1.0, *values, *(values[1:] + values[:-1]) / 2]
    everything = {operating_point(policy, float(theta), scores, labels) for theta in tried}
    assert {tuple(np.round(p, 9)) for p in everything} <= {tuple(np.round(p, 9)) for p in points}


@each_policy
@each_readout
def test_a_curve_begins_without_exits_and_takes_fewer_timesteps_at_every_point(
    policy: str, accumulate: Accumulate
) -> None:
    logits, labels = realistic()
    curve = iso_accuracy_curve(policy, accumulate, logits, labels, SCALE)
    assert curve.timesteps_mean[0] == 4
    assert curve.accuracy[0] == pytest.approx(static_accuracies(logits, labels)[-1], abs=1e-6)
    # One image has a margin of exactly 0, below which no threshold can be.
    assert curve.timesteps_mean[-1] == (1.0025 if policy == "margin" else 1)
    assert all(a > b for a, b in pairwise(curve.timesteps_mean))
    falls = all(a > b for a, b in pairwise(curve.theta))
    assert all(a < b for a, b in pairwise(curve.theta)) if policy == "entropy" else falls


def test_one_timestep_is_one_point() -> None:
    curve = iso_accuracy_curve("entropy", "sum", *drawn(1, 5, 1), SCALE)
    assert curve.timesteps_mean.tolist() == [1.0]


@each_policy
@each_readout
@pytest.mark.parametrize("goal", [0.0, 0.5, 0.75, 0.82])
def test_the_cheapest_point_of_a_curve_is_the_calibrated_threshold(
    policy: str, accumulate: Accumulate, goal: float
) -> None:
    logits, labels = realistic()
    curve = iso_accuracy_curve(policy, accumulate, logits, labels, SCALE)
    index = curve.fewest_timesteps(goal)
    assert index is not None
    expected = calibrate_threshold(policy, exit_scores(logits, accumulate), labels, goal)
    assert curve.theta[index] == expected
    cheaper = curve.timesteps_mean < curve.timesteps_mean[index]
    assert not (curve.accuracy[cheaper] >= goal).any()
    assert curve.fewest_timesteps(1.0) is None


def test_a_curve_is_thinned_evenly_and_keeps_its_ends() -> None:
    curve = iso_accuracy_curve("margin", "sum", *realistic(), SCALE)
    few = curve.spread(5)
    assert len(few.theta) == len(few.timesteps_mean) == len(few.accuracy) == 5
    gaps = np.diff([np.flatnonzero(curve.theta == theta)[0] for theta in few.theta])
    assert gaps.max() - gaps.min() <= 1
    assert (few.theta[0], few.theta[-1]) == (curve.theta[0], curve.theta[-1])
    assert curve.spread(10**6).theta.tolist() == curve.theta.tolist()
    with pytest.raises(UsageError, match="a curve needs at least 2 points, not 1"):
        curve.spread(1)


@given(small_sets)
def test_calibration_keeps_the_accuracy_of_all_timesteps_at_the_fewest(
    drawing: tuple[IntArray, IntArray],
) -> None:
    """Every threshold at a score, tried one by one."""
    logits, labels = drawing
    rows = right_by_hand(logits, labels)
    goal = sum(row[-1] for row in rows)
    theta = calibrate_all(logits, labels, SCALE)
    assert list(theta) == list(THRESHOLD_POLICIES)
    for policy, by_readout in theta.items():
        assert list(by_readout) == list(READOUTS)
        for accumulate in READOUTS:
            scores = exit_scores(logits, accumulate)
            points = [
                operating_point(policy, float(tried), scores, labels)
                for tried in iso_accuracy_curve(policy, accumulate, logits, labels, SCALE).theta
            ]
            fewest = min(mean for mean, share in points if round(share * len(rows)) >= goal)
            mean, share = operating_point(policy, by_readout[accumulate], scores, labels)
            assert (mean, round(share * len(rows)) >= goal) == (fewest, True)


@each_policy
@each_readout
def test_another_goal_moves_the_threshold(policy: str, accumulate: Accumulate) -> None:
    logits, labels = realistic()
    least = calibrate_all(logits, labels, SCALE, goal=0.0)[policy][accumulate]
    scores = exit_scores(logits, accumulate)
    assert operating_point(policy, least, scores, labels)[0] == pytest.approx(1.0, abs=0.01)
    goal = static_accuracies(logits, labels)[2]
    mean, share = operating_point(
        policy, calibrate_all(logits, labels, SCALE, goal)[policy][accumulate], scores, labels
    )
    assert share >= goal
    own = calibrate_all(logits, labels, SCALE)[policy][accumulate]
    assert mean < operating_point(policy, own, scores, labels)[0]


def test_a_goal_that_was_rounded_up_does_not_ask_for_another_image() -> None:
    """2/3 is 0.666667 in a file, and 0.666667 of 3 images are more than 2."""
    logits = np.array([[[900, 0], [900, 0]], [[0, 900], [0, 900]], [[0, 900], [0, 900]]])
    labels = np.zeros(3, np.int64)
    labels[1] = 1
    (share,) = set(static_accuracies(logits, labels))
    assert share == 0.666667
    assert calibrate_all(logits, labels, SCALE, share) == calibrate_all(logits, labels, SCALE)
    assert iso_accuracy_curve("entropy", "sum", logits, labels, SCALE).fewest_timesteps(share) == 1


@pytest.mark.parametrize("goal", [80.6, -0.1, float("nan"), float("inf")])
def test_a_goal_that_is_no_share_is_refused(goal: float) -> None:
    with pytest.raises(UsageError, match=r"goal .* must be an accuracy between 0 and 1"):
        calibrate_all(*realistic(20), SCALE, goal)


def test_a_goal_that_no_threshold_reaches_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no threshold of exit policy entropy reaches .* of 1 "):
        calibrate_all(*realistic(), SCALE, 1.0)


def test_exit_accuracies_are_those_of_the_shipped_digits() -> None:
    """θ and what it gave were recorded when the file was made."""
    workload = read_workload(WORKLOADS / "digits.npz")
    network = workload.network
    logits = run_reference(network, workload.images).logits
    found = exit_accuracies(logits, workload.labels, network.logit_scale, workload.theta)
    assert found == workload.accuracies["exits_shipped_400"]
    held_out = run_reference(network, workload.calibration_images).logits
    theta = calibrate_all(held_out, workload.calibration_labels, network.logit_scale)
    assert theta == workload.theta


def test_exits_may_have_a_threshold_per_timestep() -> None:
    logits, labels = realistic()
    theta = {"margin": {"sum": [3.0, 2.0, 1.0, 0.0]}}
    found = exit_accuracies(logits, labels, SCALE, theta)["margin"]["sum"]
    steps = decide(ExitPolicy.of("margin", (3.0, 2.0, 1.0)), exit_scores(logits, "sum"), None, 4)
    assert found["timesteps_mean"] == steps.mean()


def test_without_images_there_is_no_accuracy() -> None:
    logits, labels = np.zeros((0, 2, 3), np.int64), np.zeros(0, np.int64)
    for measure in (static_accuracies, average_exit_time, right_predictions):
        with pytest.raises(UsageError, match="an accuracy needs images, and there are none"):
            measure(logits, labels)
    with pytest.raises(UsageError, match="there are none"):
        calibrate_all(logits, labels, SCALE)
    with pytest.raises(UsageError, match="there are none"):
        exit_accuracies(logits, labels, SCALE, {})
    with pytest.raises(UsageError, match="there are none"):
        iso_accuracy_curve("entropy", "sum", logits, labels, SCALE)


def test_what_has_no_curve_is_refused() -> None:
    logits, labels = realistic(5)
    with pytest.raises(UsageError, match="exit policy oracle has no threshold"):
        iso_accuracy_curve("oracle", "sum", logits, labels, SCALE)
    with pytest.raises(UsageError, match='did you mean "entropy"'):
        iso_accuracy_curve("entropie", "sum", logits, labels, SCALE)
    with pytest.raises(UsageError, match='accumulate is "max", it can be "sum" or "mean"'):
        exit_accuracies(logits, labels, SCALE, {"entropy": {"max": 0.5}})


def test_labels_of_other_images_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"class scores \(5, 4, 10\) and labels \(4,\)"):
        static_accuracies(realistic(5)[0], np.zeros(4, np.int64))
