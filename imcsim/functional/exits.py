"""When to stop: exit policies on the scores after each timestep, and how to choose thresholds.

A policy looks at one timestep at a time and the first one it accepts is the exit; the last timestep
always exits (Eq. (8) of Li et al., DAC 2023). Comparisons are strict, so a threshold at the end of
the scale never exits early. Sources: `entropy` Li et al., DAC 2023; `confidence` Li et al., NeurIPS
2023 (SEENN-I); `margin` Wu et al., Front. Neurosci. 2025 (top-K).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.errors import UsageError
from imcsim.functional.readout import ExitScores, FloatArray, IntArray

POLICIES = ("static", "entropy", "confidence", "margin", "oracle")
THRESHOLD_POLICIES = ("entropy", "confidence", "margin")


@dataclass(frozen=True)
class ExitPolicy:
    """A named rule with its thresholds.

    `static`: never early. `entropy`: normalised entropy < θ. `confidence`: largest softmax
    probability > θ. `margin`: largest minus second largest score > θ [nat]. `oracle`: the first
    right prediction; it needs labels and bounds what any policy can reach.

    Raises
    ------
    UsageError
        The name is unknown, or a threshold is missing, superfluous or out of range.
    """

    name: str
    theta: tuple[float, ...] = ()
    """One threshold, or one per timestep (the last may be left out); none for static and oracle."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.name not in THRESHOLD_POLICIES:
            if self.theta:
                raise UsageError(f"exit policy {self.name} takes no threshold (leave theta out)")
            return
        if not self.theta:
            raise UsageError(f"exit policy {self.name} needs a threshold (theta)")
        for theta in self.theta:
            _check_threshold(self.name, theta)

    @classmethod
    def of(cls, name: str, theta: float | Sequence[float] | None = None) -> ExitPolicy:
        """Make a policy from what a user gives: no threshold, a number, or one per timestep."""
        if theta is None:
            return cls(name)
        return cls(name, tuple(np.atleast_1d(np.asarray(theta, np.float64)).tolist()))

    def thresholds(self, timesteps: int) -> FloatArray:
        """Thresholds of timesteps 1..T−1, float64 (timesteps − 1,)."""
        given = len(self.theta)
        if given == 1:
            return np.full(timesteps - 1, self.theta[0])
        if given not in (timesteps - 1, timesteps):
            if timesteps == 1:
                raise UsageError(f"{given} thresholds for 1 timestep: give one")
            raise UsageError(
                f"{given} thresholds for {timesteps} timesteps: give one, "
                f"{timesteps - 1} (the last timestep always exits) or {timesteps}"
            )
        return np.array(self.theta[: timesteps - 1])


def check_name(name: str) -> None:
    """Refuse a policy that does not exist, with the likeliest correction."""
    if name in POLICIES:
        return
    close = difflib.get_close_matches(name, POLICIES, n=1)
    hint = f', did you mean "{close[0]}"?' if close else ""
    raise UsageError(f'no exit policy "{name}"{hint} (there are {", ".join(POLICIES)})')


def _check_threshold(name: str, theta: float) -> None:
    if name == "margin":
        if not 0 <= theta < math.inf:
            raise UsageError(f"threshold {theta:g} of exit policy margin must be 0 or more")
    elif not 0 <= theta <= 1:
        raise UsageError(f"threshold {theta:g} of exit policy {name} must be between 0 and 1")


def decide(
    policy: ExitPolicy, scores: ExitScores, labels: npt.NDArray[np.integer] | None, timesteps: int
) -> IntArray:
    """Number of timesteps each image takes, int64 (n,) of 1..timesteps.

    Parameters
    ----------
    scores : ExitScores
        For n images and at least `timesteps` timesteps.
    labels : int (n,), optional
        Right classes; only the oracle looks at them.
    timesteps : int
        T, after which every image exits.

    Raises
    ------
    UsageError
        The oracle has no labels, or the number of thresholds does not suit `timesteps`.
    """
    if not 1 <= timesteps <= scores.timesteps:
        raise ValueError(f"{timesteps} timesteps asked for, {scores.timesteps} evaluated")
    accepted = np.ones((scores.images, timesteps), bool)
    accepted[:, :-1] = _accepts(policy, scores, labels, timesteps)
    steps: IntArray = np.argmax(accepted, axis=1) + 1
    return steps


def exits_now(
    policy: ExitPolicy, scores: ExitScores, labels: npt.NDArray[np.integer] | None, timesteps: int
) -> npt.NDArray[np.bool_]:
    """Whether each image exits after the last timestep of `scores`, bool (n,), before `timesteps`
    are reached.

    The same rule as `decide`, for images whose later timesteps have not been simulated.
    """
    return _accepts(policy, scores, labels, timesteps)[:, -1]


def _accepts(
    policy: ExitPolicy, scores: ExitScores, labels: npt.NDArray[np.integer] | None, timesteps: int
) -> npt.NDArray[np.bool_]:
    """Whether the policy would exit, bool (n, early): after each timestep that is evaluated, short
    of the last of `timesteps`."""
    early = min(timesteps - 1, scores.timesteps)
    if policy.name == "static":
        return np.zeros((scores.images, early), bool)
    if policy.name == "oracle":
        if labels is None:
            raise UsageError("exit policy oracle needs labels, and the images have none")
        right: npt.NDArray[np.bool_] = scores.predictions[:, :early] == labels[:, None]
        return right
    limits = _limit(policy.name, scores, policy.thresholds(timesteps)[:early])
    return _reluctance(policy.name, scores)[:, :early] < limits


def _reluctance(name: str, scores: ExitScores) -> npt.NDArray[np.int64] | FloatArray:
    """The score (n, t) of a threshold policy, turned so that smaller exits sooner."""
    if name == "entropy":
        return scores.entropy_raw
    return -scores.confidence if name == "confidence" else -scores.margin


def _limit(name: str, scores: ExitScores, theta: FloatArray) -> FloatArray:
    """The value below which `_reluctance` exits; a whole number for the entropy register."""
    if name == "entropy":
        return np.rint(theta * scores.entropy_scale)
    return -theta


def predictions_at(scores: ExitScores, steps: IntArray) -> IntArray:
    """Class predicted at the exit, int64 (n,), after `steps` int64 (n,) timesteps."""
    return scores.predictions[np.arange(scores.images), steps - 1]


def _candidates(name: str, scores: ExitScores) -> FloatArray:
    """Thresholds at every early score seen, most reluctant first; equal ones are repeated.

    One more at the end lets every image exit at once, unless its score is at the very end of the
    scale.
    """
    if name == "entropy":
        seen = np.sort(scores.entropy_raw[:, :-1], axis=None)
        # The comparison is strict: the largest entropy needs a threshold one LSB above it.
        limits = np.append(seen, seen.max(initial=-1) + 1)
        return np.minimum(limits / scores.entropy_scale, 1.0)
    values = scores.confidence if name == "confidence" else scores.margin
    return np.append(np.sort(values[:, :-1], axis=None)[::-1], 0.0)


def thresholds_for_curve(scores: ExitScores, name: str, points: int) -> FloatArray:
    """Thresholds that spread early exits evenly between none and all, for curves over T.

    They are quantiles of the scores seen before the last timestep, most reluctant first and without
    repetition, so there may be fewer than `points`.

    Raises
    ------
    UsageError
        The policy has no threshold, or `points` is below 2.
    """
    _check_has_threshold(name)
    if points < 2:
        raise UsageError(f"a curve needs at least 2 points, not {points}")
    candidates = _candidates(name, scores)
    picked = candidates[np.rint(np.linspace(0, candidates.size - 1, points)).astype(np.int64)]
    thresholds = np.unique(picked)
    return thresholds if name == "entropy" else thresholds[::-1]


def calibrate_threshold(
    name: str, scores: ExitScores, labels: npt.NDArray[np.integer], accuracy: float
) -> float:
    """The threshold with the fewest timesteps on average that still reaches an accuracy.

    Of thresholds with equally few timesteps it is the most accurate one, then the most reluctant.
    All thresholds that make a difference on these images are tried.

    Parameters
    ----------
    scores : ExitScores
        Of held-out training images, n images and T timesteps: calibrating on evaluated ones would
        flatter.
    labels : int (n,)
        Right classes.
    accuracy : float
        Least share of right predictions, 0..1, for instance that of all T timesteps.

    Raises
    ------
    UsageError
        The policy has no threshold, there are no images, or no threshold reaches the accuracy.
    """
    _check_has_threshold(name)
    if scores.images == 0:
        raise UsageError("a threshold cannot be calibrated without images")
    candidates = np.unique(_candidates(name, scores))
    if name != "entropy":
        candidates = candidates[::-1]
    saved, right = totals(name, scores, labels, candidates)
    reached = right >= math.ceil(accuracy * scores.images - 1e-9)
    if not reached.any():
        best = right.max() / scores.images
        raise UsageError(
            f"no threshold of exit policy {name} reaches an accuracy of {accuracy:.4g} "
            f"on these {scores.images} images, the best is {best:.4g}"
        )
    kept = np.flatnonzero(reached)
    # lexsort is stable and sorts by the last key first: timesteps saved, then right predictions.
    first = np.lexsort((-right[kept], -saved[kept]))[0]
    return float(candidates[kept[first]])


def _check_has_threshold(name: str) -> None:
    check_name(name)
    if name not in THRESHOLD_POLICIES:
        raise UsageError(f"exit policy {name} has no threshold")


def totals(
    name: str, scores: ExitScores, labels: npt.NDArray[np.integer], candidates: FloatArray
) -> tuple[IntArray, IntArray]:
    """Timesteps saved and right predictions at each threshold, summed over the images.

    Parameters
    ----------
    name
        One of `THRESHOLD_POLICIES`.
    scores
        What the readout gives for each image and timestep.
    labels : int (n,)
        Right classes.
    candidates : (candidates,)
        Thresholds, in any order.

    Returns
    -------
    saved, right : int64 (candidates,)

    Notes
    -----
    An image has exited by t if the running minimum of its reluctance is below the limit, so both
    sums split into one term per timestep: each image that has exited by t saves one step and trades
    the correctness at t + 1 for that at t. Sorting once per timestep makes the scan O(n log n)
    instead of O(n²).
    """
    limits = _limit(name, scores, candidates)
    lowest = np.minimum.accumulate(_reluctance(name, scores), axis=1)
    correct = (scores.predictions == labels[:, None]).astype(np.int64)
    saved = np.zeros(candidates.size, np.int64)
    right = np.full(candidates.size, correct[:, -1].sum())
    for t in range(scores.timesteps - 1):
        order = np.argsort(lowest[:, t], kind="stable")
        exited = np.searchsorted(lowest[order, t], limits, side="left")
        gain = np.concatenate(([0], np.cumsum((correct[:, t] - correct[:, t + 1])[order])))
        saved += exited
        right += gain[exited]
    return saved, right
