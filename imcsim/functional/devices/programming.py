"""Programming variation: cells or weights end up beside their target (docs/devices.md)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import Programming, ProgramVerify
from imcsim.functional.devices.context import CellContext, Conductances
from imcsim.functional.devices.streams import Kind


def perturb_weights(
    model: Programming, weights: npt.NDArray[np.integer], context: CellContext, largest: int = 127
) -> npt.NDArray[np.int8]:
    """Weights as granularity `weight` stores them; their cells are exact.

    Li et al., Sec. IV-A5 ("adding noise to the weights post-training"):
    w' = clip(round(w·(1 + σn)), ±`largest`).

    Parameters
    ----------
    weights : integers (rows, c_out).
    """
    noise = context.stream(Kind.WEIGHT).normal(cells=1)[:, 0]
    written = np.rint(weights * _factor(model, noise))
    return np.clip(written, -largest, largest).astype(np.int8)


def write_cells(
    model: Programming, target: Conductances, context: CellContext, attempt: int = 0
) -> Conductances:
    """Conductances after one write, each cell by itself; never below 0."""
    noise = context.stream(Kind.DEVICE).normal(target.shape[1], attempt)
    if model.spread == "level_dependent":
        written = target + level_sigma(model, target, context) * noise
    else:
        written = target * _factor(model, noise)
    return np.maximum(written, 0.0)


def write_and_verify(
    model: Programming, verify: ProgramVerify, target: Conductances, context: CellContext
) -> Conductances:
    """Conductances after writing until |G − target| ≤ tolerance·target, or attempts run out.

    The first attempt draws what `write_cells` draws without verification; the last one stays, near
    or not: a cell cannot go back to an earlier, better attempt.
    """
    written = write_cells(model, target, context)
    for attempt in range(1, verify.attempts):
        off = np.abs(written - target) > verify.tolerance * target
        if not off.any():
            break
        written = np.where(off, write_cells(model, target, context, attempt), written)
    return written


def level_sigma(model: Programming, target: Conductances, context: CellContext) -> Conductances:
    """Standard deviation of level-dependent spread [levels]: G_on · Σ c_i·(G/G_on)^i, at least
    0."""
    coefficients = model.sigma_coefficients or (0.0,)
    relative = np.polynomial.polynomial.polyval(target / context.on, np.array(coefficients))
    return np.asarray(context.on * np.maximum(relative, 0.0))


def _factor(model: Programming, noise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What a target is multiplied with: mean 1, standard deviation σ."""
    sigma = model.sigma or 0.0
    if model.spread == "lognormal":
        log_sigma = math.sqrt(math.log1p(sigma**2))
        return np.asarray(np.exp(log_sigma * noise - log_sigma**2 / 2))
    return 1 + sigma * noise
