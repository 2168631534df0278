"""How accurate class scores are, at a fixed number of timesteps and with early exits, and which
thresholds are worth having.

Calibrate on images that are neither trained on nor evaluated. Sources: Li et al., DAC 2023 (iso
accuracy, Table II); Li et al., NeurIPS 2023 (SEENN: averaged earliest timestep).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from imcsim.errors import UsageError
from imcsim.functional.exits import (
    THRESHOLD_POLICIES,
    ExitPolicy,
    calibrate_threshold,
    decide,
    predictions_at,
    thresholds_for_curve,
    totals,
)
from imcsim.functional.readout import Accumulate, ExitScores, FloatArray, SigmaETables, evaluate
from imcsim.network.workload import Theta

IntScores = npt.NDArray[np.integer]
Labels = npt.NDArray[np.integer]

LUT_BYTES = 3072
"""Size of each σ-E table; Li et al., DAC 2023, Section III-B."""
READOUTS: tuple[Accumulate, ...] = get_args(Accumulate)
DIGITS = 6
"""Decimal places of recorded shares and means."""
_ROUNDED_UP = 0.5 * 10.0**-DIGITS
"""A goal may come from a file and be this much above the share it stands for, never a whole image
(of fewer than two million)."""


def right_predictions(
    logits: npt.NDArray[np.integer | np.floating], labels: Labels
) -> npt.NDArray[np.bool_]:
    """Whether the sum of the class scores is largest for the right class, bool (n, t), after 1, 2,
    ... timesteps; of equal scores the lowest class counts.

    Parameters
    ----------
    logits : int or float (n, t, k)
        Class scores of each timestep alone.
    labels : int (n,)
        Right classes.

    Raises
    ------
    UsageError
        There are no images.
    """
    if logits.ndim != 3 or labels.shape != logits.shape[:1]:
        raise ValueError(f"class scores {logits.shape} and labels {labels.shape} do not match")
    if not len(labels):
        raise UsageError("an accuracy needs images, and there are none")
    right: npt.NDArray[np.bool_] = (
        logits.astype(np.float64).cumsum(axis=1).argmax(axis=2) == labels[:, None]
    )
    return right


def static_accuracies(logits: npt.NDArray[np.integer | np.floating], labels: Labels) -> list[float]:
    """Share of right predictions after 1, 2, ... timesteps, to 6 digits; arguments and errors as
    `right_predictions`.
    """
    return rounded(right_predictions(logits, labels).mean(axis=0))


def rounded(values: Iterable[float | np.floating]) -> list[float]:
    """Plain numbers of 6 digits, as files record them."""
    return [round(float(value), DIGITS) for value in values]


@dataclass(frozen=True)
class EarliestExits:
    """What no exit policy can beat, measured with the labels."""

    average_exit_time: float
    """AET of SEENN, from the accuracies a_t alone: ``Σ_t t·(a_t − a_{t−1}) + T·(1 − a_T)`` with
    a_0 = 0. That is one timestep and one more per wrong prediction before T, so it is the oracle's
    mean as long as no right prediction is lost again before T, and larger if some are."""
    oracle_timesteps_mean: float
    """Mean number of timesteps if each image exits at its first right prediction, else at T."""
    oracle_accuracy: float
    """Share of images that are right after at least one of T timesteps."""


def average_exit_time(
    logits: npt.NDArray[np.integer | np.floating], labels: Labels
) -> EarliestExits:
    """Reference points for exit policies; arguments and errors as `right_predictions`."""
    right = right_predictions(logits, labels)
    timesteps = right.shape[1]
    accuracy = right.mean(axis=0)
    gained = np.diff(accuracy, prepend=0.0)
    found = right.any(axis=1)
    steps = np.where(found, right.argmax(axis=1) + 1, timesteps)
    return EarliestExits(
        float(np.arange(1, timesteps + 1) @ gained + timesteps * (1 - accuracy[-1])),
        float(steps.mean()),
        float(found.mean()),
    )


@dataclass(frozen=True, eq=False)
class IsoAccuracyCurve:
    """All operating points of a threshold policy on some images, most reluctant first.

    The first point never exits early; each further one takes fewer timesteps than the one before.
    """

    theta: FloatArray
    """(points,): of equivalent thresholds the most reluctant one."""
    timesteps_mean: FloatArray
    """(points,): falls strictly from T."""
    accuracy: FloatArray
    """(points,): share of right predictions; it may rise and fall."""

    def fewest_timesteps(self, goal: float) -> int | None:
        """Index of the point with the fewest timesteps among those of accuracy ≥ `goal`; None if
        there is none.
        """
        reached = np.flatnonzero(self.accuracy >= goal - _ROUNDED_UP)
        return int(reached[-1]) if reached.size else None

    def spread(self, points: int) -> IsoAccuracyCurve:
        """At most `points` of the points, spread evenly over the curve, both ends included."""
        if points < 2:
            raise UsageError(f"a curve needs at least 2 points, not {points}")
        last = self.theta.size - 1
        kept = np.unique(np.rint(np.linspace(0, last, points)).astype(np.int64))
        return IsoAccuracyCurve(self.theta[kept], self.timesteps_mean[kept], self.accuracy[kept])


def iso_accuracy_curve(
    policy: str, accumulate: Accumulate, logits: IntScores, labels: Labels, logit_scale: float
) -> IsoAccuracyCurve:
    """Mean timesteps and accuracy of a policy at every threshold that makes a difference.

    Parameters
    ----------
    policy : str
        One of `THRESHOLD_POLICIES`.
    accumulate : {"sum", "mean"}
        Readout over timesteps.
    logits : int (n, t, k)
        Class scores of each timestep alone, in units of `logit_scale`.
    labels : int (n,)
        Right classes.

    Raises
    ------
    UsageError
        The policy has no threshold, the readout is unknown, or there are no images.
    """
    right_predictions(logits, labels)  # refuses what is no set of images
    scores = _evaluate(logits, logit_scale, accumulate)
    # As many points as scores before the last timestep: none is left out.
    early = scores.images * (scores.timesteps - 1)
    theta = thresholds_for_curve(scores, policy, max(early + 1, 2))
    saved, right = totals(policy, scores, labels, theta)
    # The sets of exits are nested, so equally many saved timesteps mean the same exits.
    _, first = np.unique(saved, return_index=True)
    return IsoAccuracyCurve(
        theta[first],
        scores.timesteps - saved[first] / scores.images,
        right[first] / scores.images,
    )


def calibrate_all(
    logits: IntScores, labels: Labels, logit_scale: float, goal: float | None = None
) -> dict[str, dict[str, float]]:
    """The threshold with the fewest timesteps at a given accuracy, ``theta[policy]["sum" |
    "mean"]``.

    Parameters
    ----------
    logits : int (n, t, k)
        Class scores of each timestep alone, of images that are not evaluated later.
    labels : int (n,)
        Right classes.
    logit_scale : float
        Real value of one LSB of the scores.
    goal : float, optional
        Share of right predictions to be reached, 0..1, exact or rounded to 6 digits; for instance
        another network's on the same images (Li et al., DAC 2023, Table II). Default: this
        network's after all T timesteps, which every policy reaches.

    Raises
    ------
    UsageError
        There are no images, the goal is no share, or a policy cannot reach it.
    """
    right = right_predictions(logits, labels)
    if goal is None:
        goal = float(right[:, -1].mean())
    if not (math.isfinite(goal) and 0 <= goal <= 1):
        raise UsageError(f"goal {goal:g} must be an accuracy between 0 and 1")
    theta: dict[str, dict[str, float]] = {policy: {} for policy in THRESHOLD_POLICIES}
    for accumulate in READOUTS:
        scores = _evaluate(logits, logit_scale, accumulate)
        for policy in THRESHOLD_POLICIES:
            theta[policy][accumulate] = calibrate_threshold(
                policy, scores, labels, goal - _ROUNDED_UP
            )
    return theta


def exit_accuracies(
    logits: IntScores,
    labels: Labels,
    logit_scale: float,
    theta: Mapping[str, Mapping[str, Theta]],
) -> dict[str, dict[str, Any]]:
    """Accuracy and mean number of timesteps at given thresholds, to 6 digits:
    ``{policy: {"sum" | "mean": {"accuracy": ..., "timesteps_mean": ...}}}``.

    Parameters
    ----------
    logits, labels, logit_scale
        As in `calibrate_all`, of the images to be evaluated.
    theta
        As `calibrate_all` returns it, or with one threshold per timestep.

    Raises
    ------
    UsageError
        There are no images, or a policy, readout or threshold does not exist.
    """
    right_predictions(logits, labels)  # refuses what is no set of images
    timesteps = logits.shape[1]
    measured: dict[str, dict[str, Any]] = {policy: {} for policy in theta}
    for policy, by_readout in theta.items():
        for accumulate, value in by_readout.items():
            scores = _evaluate(logits, logit_scale, accumulate)
            steps = decide(ExitPolicy.of(policy, value), scores, labels, timesteps)
            right = predictions_at(scores, steps) == labels
            measured[policy][accumulate] = {
                "accuracy": round(float(right.mean()), DIGITS),
                "timesteps_mean": round(float(steps.mean()), DIGITS),
            }
    return measured


def _evaluate(logits: IntScores, logit_scale: float, accumulate: Any) -> ExitScores:
    """Exit scores with the tables of the paper's size; `accumulate` is checked there."""
    tables = SigmaETables(LUT_BYTES, LUT_BYTES, logits.shape[2])
    return evaluate(logits, logit_scale, accumulate, tables)
