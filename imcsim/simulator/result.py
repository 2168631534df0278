"""What a run found: per image, per layer, per component; the static baseline beside the dynamic
run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.activity import Activity
from imcsim.energy import COMPONENTS
from imcsim.functional.exits import ExitPolicy
from imcsim.functional.readout import ExitScores
from imcsim.functional.verify import Verification
from imcsim.mapping import Mapping
from imcsim.simulator.correct import CorrectionReport
from imcsim.timing import TimingResult

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One way of using the timesteps (dynamic or static), for n images.

    Energies include leakage over the image's own latency.
    """

    steps: Integers
    """int64 (n,): timesteps used, T̂."""
    predictions: Integers
    """int64 (n,)"""
    energy_j: Floats
    """float64 (n,)"""
    cycles: Integers
    """int64 (n,): latency."""
    energy_by_component_j: dict[str, float]
    """Mean over images, in the order of `COMPONENTS`."""
    energy_by_layer_j: Floats
    """float64 (layers, components): mean over images, without leakage and σ-E."""

    def latency_s(self, clock_hz: float) -> Floats:
        """float64 (n,)"""
        return self.cycles / clock_hz

    def edp_js(self, clock_hz: float) -> Floats:
        """float64 (n,): energy-delay product of each image."""
        product: Floats = self.energy_j * self.latency_s(clock_hz)
        return product


@dataclass(frozen=True, eq=False)
class RunResult:
    """Everything that reports are made of."""

    mapping: Mapping
    labels: Integers
    timesteps: int
    policy: ExitPolicy
    accumulate: str
    seed: int
    logits: npt.NDArray[np.int32]
    """int32 (n, t, classes): of each timestep alone."""
    scores: ExitScores
    activity: Activity
    spikes: Integers
    """int64 (n, t, layers)"""
    saturations: Integers
    """int64 (n, t, layers)"""
    adc_steps: dict[int, Integers]
    """Per weight layer: int64 (planes,), ADC step in 1/16 cell level."""
    timing: TimingResult
    step_energy_j: Floats
    """float64 (n, t): with leakage, without σ-E."""
    once_energy_j: Floats
    """float64 (n,): image load and what else happens once."""
    sigma_e_energy_j: float
    """One evaluation, leakage of its cycles included."""
    sigma_e_cycles: int
    area_by_component_m2: dict[str, float]
    leakage_w: float
    dynamic: Outcome
    static: Outcome | None
    """Fixed T on the same images from the same pass; None if not all timesteps were simulated."""
    verification: Verification | None = None
    correction: CorrectionReport | None = None
    """What was set anew for this chip; None if its file asks for nothing."""

    @property
    def clock_hz(self) -> float:
        return self.mapping.chip.chip.clock_hz

    @property
    def images(self) -> int:
        return len(self.labels)

    def summary(self) -> dict[str, Any]:
        """The promised object of ``imcsim run --json`` and ``summary.json``: means over images, SI
        units. Only a chip with `correction` on says what was corrected."""
        theta = list(self.policy.theta)
        return {
            **self._outcome(self.dynamic),
            "static": None
            if self.static is None
            else {**self._outcome(self.static), "theta": None, "seed": self.seed},
            "theta": theta[0] if len(theta) == 1 else (theta or None),
            "seed": self.seed,
            **({} if self.correction is None else {"correction": self.correction.summary()}),
        }

    def _outcome(self, outcome: Outcome) -> dict[str, Any]:
        histogram = np.bincount(outcome.steps - 1, minlength=self.timesteps)
        return {
            "accuracy": float((outcome.predictions == self.labels).mean()),
            "timesteps_mean": float(outcome.steps.mean()),
            "timesteps_histogram": histogram.tolist(),
            "images": self.images,
            "energy_j": float(outcome.energy_j.mean()),
            "latency_s": float(outcome.latency_s(self.clock_hz).mean()),
            "edp_js": float(outcome.edp_js(self.clock_hz).mean()),
            "area_m2": sum(self.area_by_component_m2.values()),
            "energy_by_component_j": {
                name: outcome.energy_by_component_j[name] for name in COMPONENTS
            },
            "latency_cycles": float(outcome.cycles.mean()),
            "clock_hz": self.clock_hz,
            "crossbars": self.mapping.crossbars,
            "tiles": self.mapping.tiles,
        }
