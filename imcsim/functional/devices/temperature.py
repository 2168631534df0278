"""Conductances at another temperature (docs/devices.md)."""

from __future__ import annotations

import math

import numpy as np

from imcsim.chip.nonidealities import Temperature
from imcsim.functional.devices.context import CellContext, Conductances

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""CODATA 2018."""


def factors(model: Temperature) -> tuple[float, float]:
    """What the filament's and R_off's conductance are multiplied with.

    The filament is a metal, 1 / (1 + α·(T − T_0)); R_off is thermally activated,
    exp(−E_a/k·(1/T − 1/T_0)): the two kinds of transport that Walczyk et al., IEEE Trans. Electron
    Devices 58, 3124 (2011), find in the two states of HfO2 cells.
    """
    resistance = 1 + model.resistance_per_kelvin * (model.kelvin - model.reference_kelvin)
    inverse = 1 / model.kelvin - 1 / model.reference_kelvin
    return 1 / resistance, math.exp(-model.activation_ev / BOLTZMANN_EV_PER_K * inverse)


def apply(model: Temperature, conductance: Conductances, context: CellContext) -> Conductances:
    """Conductances at `kelvin`: a cell is a filament beside R_off.

    What a cell conducts beyond R_off is the filament's; one below R_off has none.
    """
    filament, off = factors(model)
    leak = np.minimum(conductance, context.pedestal)
    return np.asarray(leak * off + (conductance - leak) * filament)
