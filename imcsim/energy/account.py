"""Counts × energy, per image, timestep, layer and component.

Counts are integers and are summed before they are priced, always in the order of the price list, so
that a total depends neither on the batch nor on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS, Activity
from imcsim.energy.prices import COMPONENTS, Bill

Joules = npt.NDArray[np.float64]

_FIXED = list(FIXED_ACTIONS)
_MEASURED = list(MEASURED_ACTIONS)


@dataclass(frozen=True, eq=False)
class DynamicEnergy:
    """Switching energy without leakage and σ-E. n = images, t = timesteps, l = layers, c =
    `COMPONENTS`."""

    once_j: Joules
    """float64 (n,): once per image."""
    step_j: Joules
    """float64 (n, t): per timestep; 0 where not simulated."""

    def until(self, steps: npt.NDArray[np.int64]) -> Joules:
        """float64 (n,): energy of each image if it stops after its number of timesteps."""
        cumulative = np.cumsum(self.step_j, axis=1)
        total: Joules = self.once_j + cumulative[np.arange(len(steps)), steps - 1]
        return total


def dynamic_energy(activity: Activity, bill: Bill) -> DynamicEnergy:
    """Price every image and timestep."""
    alive = activity.alive()
    once, step = np.zeros(activity.images), np.zeros((activity.images, activity.timesteps))
    for price in bill.prices:
        if price.action in FIXED_ACTIONS:
            a = _FIXED.index(price.action)
            once += activity.fixed_once[:, a].sum() * price.energy_j
            step += alive * (activity.fixed_step[:, a].sum() * price.energy_j)
        else:
            m = _MEASURED.index(price.action)
            once += activity.measured_once[:, :, m].sum(axis=1) * price.energy_j
            step += activity.measured_step[:, :, :, m].sum(axis=2) * price.energy_j
    return DynamicEnergy(once, step)


def energy_by_layer(activity: Activity, bill: Bill, steps: npt.NDArray[np.int64]) -> Joules:
    """Mean over images of the switching energy by layer and component.

    Parameters
    ----------
    activity, bill : what was done and what it costs.
    steps : int64 (n,): timesteps that each image uses.

    Returns
    -------
    float64 (layers, components) [J]
    """
    used = np.arange(activity.timesteps) < steps[:, None]
    total_steps, images = int(steps.sum()), activity.images
    energy = np.zeros((len(activity.layers), len(COMPONENTS)))
    for price in bill.prices:
        component = COMPONENTS.index(price.component)
        if price.action in FIXED_ACTIONS:
            a = _FIXED.index(price.action)
            counts = images * activity.fixed_once[:, a] + total_steps * activity.fixed_step[:, a]
        else:
            m = _MEASURED.index(price.action)
            counts = activity.measured_once[:, :, m].sum(axis=0)
            counts = counts + (activity.measured_step[:, :, :, m] * used[:, :, None]).sum(
                axis=(0, 1)
            )
        energy[:, component] += counts * price.energy_j / images
    return energy
