"""What both scripts do with class scores: accuracies and calibrated exit thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from imcsim.functional.exits import (
    THRESHOLD_POLICIES,
    ExitPolicy,
    calibrate_threshold,
    decide,
    predictions_at,
)
from imcsim.functional.readout import SigmaETables, evaluate

LUT_BYTES = 3072
"""Size of each σ-E table; Li et al., DAC 2023, Section III-B."""


def static_accuracies(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """Share of right predictions after 1, 2, ... timesteps, from the sum of the class scores (n, t,
    k).
    """
    predictions = logits.astype(np.float64).cumsum(axis=1).argmax(axis=2)
    return [round(float(share), 6) for share in (predictions == labels[:, None]).mean(axis=0)]


def calibrate_all(
    logits: np.ndarray, labels: np.ndarray, logit_scale: float
) -> dict[str, dict[str, float]]:
    """For each policy and readout the threshold with the fewest timesteps that is as accurate as
    all T.

    Parameters
    ----------
    logits : int (n, t, k)
        Class scores of each timestep, of images that are not evaluated later.
    """
    tables = SigmaETables(LUT_BYTES, LUT_BYTES, logits.shape[2])
    goal = static_accuracies(logits, labels)[-1]
    theta: dict[str, dict[str, float]] = {name: {} for name in THRESHOLD_POLICIES}
    for accumulate in ("sum", "mean"):
        scores = evaluate(logits, logit_scale, accumulate, tables)
        for name in THRESHOLD_POLICIES:
            theta[name][accumulate] = calibrate_threshold(name, scores, labels, goal)
    return theta


def exit_accuracies(
    logits: np.ndarray, labels: np.ndarray, logit_scale: float, theta: dict[str, dict[str, float]]
) -> dict[str, dict[str, Any]]:
    """Accuracy and mean number of timesteps of each calibrated policy."""
    tables = SigmaETables(LUT_BYTES, LUT_BYTES, logits.shape[2])
    timesteps = logits.shape[1]
    measured: dict[str, dict[str, Any]] = {name: {} for name in theta}
    for name, by_readout in theta.items():
        for accumulate, value in by_readout.items():
            scores = evaluate(logits, logit_scale, accumulate, tables)
            steps = decide(ExitPolicy.of(name, value), scores, labels, timesteps)
            right = predictions_at(scores, steps) == labels
            measured[name][accumulate] = {
                "accuracy": round(float(right.mean()), 6),
                "timesteps_mean": round(float(steps.mean()), 6),
            }
    return measured
