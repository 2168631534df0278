"""What the cells of a chip really are: one file per non-ideality, pure functions on conductances.

What is fixed when a chip is made acts on conductances, in the order of the physics (the order of
the entries in an architecture file means nothing): programming (with verification), drift, stuck
cells, which neither are programmed nor drift, temperature, wires. What changes from read to read is
described for the kernels by `Fluctuations`.
"""

from __future__ import annotations

from imcsim.functional.devices.chain import perturbed_weights, programmed_cells
from imcsim.functional.devices.context import CellContext, Conductances
from imcsim.functional.devices.fluctuations import Fluctuations
from imcsim.functional.devices.off_current import (
    pedestal_levels,
    taken_after_converter,
    taken_before_converter,
)
from imcsim.functional.devices.streams import CellGrid, CellStream, Kind

__all__ = [
    "CellContext",
    "CellGrid",
    "CellStream",
    "Conductances",
    "Fluctuations",
    "Kind",
    "pedestal_levels",
    "perturbed_weights",
    "programmed_cells",
    "taken_after_converter",
    "taken_before_converter",
]
