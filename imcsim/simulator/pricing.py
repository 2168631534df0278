"""From numbers of timesteps to joules and cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.activity import Activity
from imcsim.chip import Chip
from imcsim.energy import COMPONENTS, Bill, DynamicEnergy, energy_by_layer
from imcsim.functional.exits import predictions_at
from imcsim.functional.readout import ExitScores
from imcsim.simulator.result import Outcome
from imcsim.timing import TimingResult


@dataclass(frozen=True, eq=False)
class Pricing:
    """Turns numbers of timesteps into joules and cycles."""

    chip: Chip
    bill: Bill
    activity: Activity
    energy: DynamicEnergy
    timing: TimingResult

    def leakage_j(self, cycles: npt.ArrayLike) -> npt.NDArray[np.float64]:
        leaked: npt.NDArray[np.float64] = (
            np.asarray(cycles) / self.chip.chip.clock_hz * self.bill.total_leakage_w
        )
        return leaked

    def step_energy_j(self) -> npt.NDArray[np.float64]:
        """float64 (n, t): switching and leakage of each simulated timestep."""
        return self.energy.step_j + self.activity.alive() * self.leakage_j(self.timing.step_cycles)

    def outcome(
        self, steps: npt.NDArray[np.int64], scores: ExitScores, uses_sigma_e: bool
    ) -> Outcome:
        """Energy and latency if image i stops after ``steps[i]`` timesteps."""
        evaluations = steps if uses_sigma_e else np.zeros_like(steps)
        until = np.cumsum(self.timing.step_cycles)
        cycles = self.timing.once_cycles + until[steps - 1] + evaluations * self.bill.sigma_e_cycles
        sigma_e = evaluations * self.bill.sigma_e_j
        by_layer = energy_by_layer(self.activity, self.bill, steps)
        by_component = dict(zip(COMPONENTS, by_layer.sum(axis=0).tolist(), strict=True))
        by_component["sigma_e"] = float(sigma_e.mean())
        by_component["leakage"] = float(self.leakage_j(cycles).mean())
        return Outcome(
            steps=steps,
            predictions=predictions_at(scores, steps),
            energy_j=self.energy.until(steps) + sigma_e + self.leakage_j(cycles),
            cycles=cycles,
            energy_by_component_j=by_component,
            energy_by_layer_j=by_layer,
        )
