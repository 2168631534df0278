"""Accuracy against energy-delay product, as Fig. 5 of Li et al., DAC 2023: static networks of 1, 2,
... timesteps, and the dynamic one over θ.

Everything comes from the run directory: one functional pass holds all timesteps, so every θ is
decided afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.errors import RunError, UsageError
from imcsim.functional.exits import (
    THRESHOLD_POLICIES,
    ExitPolicy,
    decide,
    predictions_at,
    thresholds_for_curve,
)
from imcsim.functional.readout import ExitScores, SigmaETables, evaluate
from imcsim.results import Run
from imcsim.results.contents import CONFIG

_MOST_THETA = 4
"""Thresholds by timestep that a label writes out."""


@dataclass(frozen=True)
class Point:
    """One operating point; means over images."""

    label: str
    theta: float | tuple[float, ...] | None
    """None for a static point; a tuple if the run's own thresholds differ by timestep."""
    timesteps_mean: float
    timesteps_histogram: tuple[int, ...]
    accuracy: float
    energy_j: float
    latency_s: float
    edp_js: float
    """Mean of each image's energy × latency."""
    edp_of_means_js: float
    """Mean energy × mean latency; smaller, since easy images are both cheaper and faster."""
    this_run: bool = False
    """The θ that the run itself was made with."""


@dataclass(frozen=True)
class EdpCurve:
    """Static and dynamic points of one run; the EDP unit is that of one static timestep."""

    name: str
    policy: str
    static: tuple[Point, ...]
    dynamic: tuple[Point, ...]
    """By rising EDP; the run's own point is among them."""
    without_threshold: str = ""
    """The run's own policy if it has no threshold (static, oracle) and `policy` stands in."""

    def normalised(self, point: Point) -> float:
        """EDP over that of the static network with one timestep."""
        return point.edp_js / self.static[0].edp_js

    def as_json(self) -> dict[str, Any]:
        """Points as plain objects."""
        return {
            "run": self.name,
            "policy": self.policy,
            "static": [{**vars(p), "edp_normalised": self.normalised(p)} for p in self.static],
            "dynamic": [{**vars(p), "edp_normalised": self.normalised(p)} for p in self.dynamic],
        }


def curve_of(run: Run, points: int) -> EdpCurve:
    """Derive the curve of a run, with about `points` thresholds spread over the exits.

    Raises
    ------
    RunError
        If the run did not simulate all timesteps (``--no-static``), or its thresholds are damaged.
    """
    options = run.config["run"]
    if not options["static"]:
        raise RunError(
            f"{run.directory}: made with --no-static; its images stopped at their exits, so there "
            "is no static baseline and no other threshold to evaluate"
        )
    scores, steps = _scores(run), run.steps
    timesteps, labels = int(options["timesteps"]), steps["labels"]
    images = len(labels)
    static = tuple(
        _point(run, scores, f"T = {t}", None, np.full(images, t)) for t in range(1, timesteps + 1)
    )
    has_threshold = options["policy"] in THRESHOLD_POLICIES
    policy = options["policy"] if has_threshold else "entropy"
    dynamic, own = [], None
    if has_threshold:
        own, theta = _own_steps(run, scores), tuple(options["theta"])
        point = _point(run, scores, _label(theta), theta[0] if len(theta) == 1 else theta, own)
        dynamic.append(replace(point, this_run=True))
    for value in thresholds_for_curve(scores, policy, points):
        taken = decide(ExitPolicy.of(policy, float(value)), scores, labels, timesteps)
        if own is None or not np.array_equal(taken, own):  # another name for the run's own point
            dynamic.append(_point(run, scores, f"θ = {value:.4g}", float(value), taken))
    dynamic.sort(key=lambda p: p.edp_js)
    name = "" if has_threshold else options["policy"]
    return EdpCurve(run.name, policy, static, tuple(dynamic), name)


def _own_steps(run: Run, scores: ExitScores) -> npt.NDArray[np.int64]:
    """What the run itself decided, int64 (n,)."""
    options = run.config["run"]
    try:
        policy = ExitPolicy.of(options["policy"], options["theta"])
        return decide(policy, scores, run.steps["labels"], options["timesteps"])
    except UsageError as exc:
        raise RunError(f"{run.directory / CONFIG}: run.theta: {exc}") from exc


def _label(theta: tuple[float, ...]) -> str:
    if len(theta) > _MOST_THETA:
        return "θ by timestep"
    return f"θ = {', '.join(f'{value:.4g}' for value in theta)}"


def _scores(run: Run) -> ExitScores:
    options, module = run.config["run"], run.config["arch"]["sigma_e"]
    tables = SigmaETables(
        module["sigma_lut_bytes"], module["entropy_lut_bytes"], options["classes"]
    )
    logits = run.steps["logits"].astype(np.int64)
    return evaluate(logits, options["logit_scale"], options["accumulate"], tables)


def _point(
    run: Run,
    scores: ExitScores,
    label: str,
    theta: float | tuple[float, ...] | None,
    taken: npt.NDArray[np.int64],
) -> Point:
    """Price one number of timesteps per image; dynamic points also pay for the σ-E module in every
    timestep."""
    steps, clock = run.steps, run.config["arch"]["chip"]["clock_hz"]
    rows, evaluations = np.arange(len(taken)), (taken if theta is not None else 0 * taken)
    energy = steps["once_energy_j"] + np.cumsum(steps["energy_j"], axis=1)[rows, taken - 1]
    energy = energy + evaluations * steps["sigma_e_energy_j"]
    cycles = steps["once_cycles"] + np.cumsum(steps["cycles"], axis=1)[rows, taken - 1]
    latency = (cycles + evaluations * steps["sigma_e_cycles"]) / clock
    histogram = np.bincount(taken - 1, minlength=scores.timesteps)
    return Point(
        label=label,
        theta=theta,
        timesteps_mean=float(taken.mean()),
        timesteps_histogram=tuple(histogram.tolist()),
        accuracy=float((predictions_at(scores, taken) == steps["labels"]).mean()),
        energy_j=float(energy.mean()),
        latency_s=float(latency.mean()),
        edp_js=float((energy * latency).mean()),
        edp_of_means_js=float(energy.mean() * latency.mean()),
    )
