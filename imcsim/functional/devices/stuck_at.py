"""Stuck-at faults: cells that hold one conductance whatever was written (docs/devices.md)."""

from __future__ import annotations

import numpy as np

from imcsim.chip.nonidealities import StuckAt
from imcsim.functional.devices.context import CellContext, Conductances
from imcsim.functional.devices.streams import Kind


def apply(model: StuckAt, conductance: Conductances, context: CellContext) -> Conductances:
    """Set a share `on` of the cells to G_on and another share `off` to G_off.

    One uniform draw decides each cell's fate, so the two shares are exclusive and each is what was
    asked for; a cell that is stuck at a low rate is stuck at a higher one, too (of one kind).
    """
    drawn = context.stream(Kind.STUCK_AT).uniform(conductance.shape[1])
    stuck = np.where(drawn < model.on, context.on, conductance)
    # From the other end of the interval: the set of one kind does not move with the other's rate.
    return np.where(drawn >= 1 - model.off, context.pedestal, stuck)
