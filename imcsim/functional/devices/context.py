"""What the device models know of the chip and the layer they act on.

Conductances are in level units, R_off's share included: a cell at R_off has `pedestal` levels, one
at R_on `pedestal + max_level`; arrays are float64 (rows, planes, width), width as in `CellGrid`:
c_out weights side by side, and behind them the reference weights, if there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imcsim.functional.devices.off_current import pedestal_levels
from imcsim.functional.devices.streams import CellGrid, CellStream, Kind

if TYPE_CHECKING:
    from imcsim.chip import Chip
    from imcsim.mapping import LayerMapping

Conductances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CellContext:
    """One layer on one chip instance."""

    grid: CellGrid
    seed: int
    pedestal: float
    """Conductance of level 0 [levels]."""
    max_level: int
    level_s: float
    """Conductance of one level step [S]."""

    @classmethod
    def of(cls, chip: Chip, placed: LayerMapping, seed: int) -> CellContext:
        """Context of a mapped layer."""
        has_reference = chip.mapping.signed_weights == "offset_column"
        return cls(
            grid=CellGrid.of(placed, has_reference),
            seed=seed,
            pedestal=pedestal_levels(chip),
            max_level=(1 << chip.device.bits) - 1,
            level_s=chip.level_s,
        )

    @property
    def on(self) -> float:
        """Conductance of the highest level [levels], G_on."""
        return self.pedestal + self.max_level

    def stream(self, kind: Kind) -> CellStream:
        """The layer's draws of one kind."""
        grid = self.grid.of_weights if kind is Kind.WEIGHT else self.grid
        return CellStream(self.seed, kind, grid)
