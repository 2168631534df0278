"""One layer of equal cells, as the tests of the device models take it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.functional.devices import CellContext, CellGrid

PEDESTAL = 15 / 9
"""Level 0 by Table I: R_off / R_on = 10, 4-bit cells."""
LEVEL_S = (1 / 20e3 - 1 / 200e3) / 15


def grid(rows: int = 256, c_out: int = 128, layer: int = 0, crossbar: int = 64) -> CellGrid:
    """Square crossbars with the two planes of a weight side by side."""
    return CellGrid(
        layer=layer,
        rows=rows,
        c_out=c_out,
        crossbar_rows=crossbar,
        crossbar_cols=crossbar,
        weights_per_crossbar=crossbar // 2,
        row_starts=tuple(range(0, rows, crossbar)),
    )


def context(cells: CellGrid | None = None, seed: int = 0) -> CellContext:
    """Table I's cells."""
    return CellContext(
        grid=grid() if cells is None else cells,
        seed=seed,
        pedestal=PEDESTAL,
        max_level=15,
        level_s=LEVEL_S,
    )


def at_level(level: float, cells: CellGrid | None = None) -> npt.NDArray[np.float64]:
    """Conductances (rows, 2, c_out) of a layer whose cells are all the same; by default 65,536
    cells, so that a mean is good to σ/256 and a standard deviation to σ/362."""
    shape = grid() if cells is None else cells
    return np.full((shape.rows, 2, shape.c_out), PEDESTAL + level)
