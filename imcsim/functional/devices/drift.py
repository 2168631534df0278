"""Conductances some time after programming (docs/devices.md)."""

from __future__ import annotations

import math

import numpy as np

from imcsim.chip.nonidealities import Drift
from imcsim.functional.devices.context import CellContext, Conductances
from imcsim.functional.devices.streams import Kind


def apply(model: Drift, conductance: Conductances, context: CellContext) -> Conductances:
    """Conductances `time_s` after programming; time 0 changes nothing.

    Every cell keeps its one draw at all times, so that a chip read at two times ages, instead of
    being made anew.
    """
    if model.time_s == 0:
        return conductance
    noise = context.stream(Kind.DRIFT).normal(conductance.shape[1])
    if model.law == "power_law":
        return _power_law(model, conductance, noise)
    return _relaxation(model, conductance, noise, context.on)


def _relaxation(
    model: Drift, conductance: Conductances, noise: Conductances, on: float
) -> Conductances:
    """Falcone et al., arXiv 2502.04524: G + G_on·(shift·ln t + (σ_1 + σ_e·ln t)·n), t in seconds,
    at least one; never below 0."""
    efolds = math.log(max(model.time_s, 1.0))
    sigma = (model.sigma_at_1s or 0.0) + (model.sigma_per_efold or 0.0) * efolds
    change = (model.shift_per_efold or 0.0) * efolds + sigma * noise
    return np.maximum(conductance + on * change, 0.0)


def _power_law(model: Drift, conductance: Conductances, noise: Conductances) -> Conductances:
    """Joshi et al., Nat. Commun. 11, 2473 (2020): G·((t + t_0)/t_0)^−ν with t counted from the end
    of programming, and ν = max(ν_mean + ν_σ·n, 0) of each cell."""
    reference = model.reference_s or 1.0
    exponent = np.maximum((model.exponent or 0.0) + (model.exponent_sigma or 0.0) * noise, 0.0)
    return np.asarray(conductance * (1 + model.time_s / reference) ** -exponent)
