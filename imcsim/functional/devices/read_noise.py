"""Conductances that fluctuate from read to read (docs/devices.md).

A cell's current in one read is (G + σ_cell·n)·x. Only sums of columns are converted, and the sum of
independent normal deviates is one normal deviate, so a read needs one draw per column, with the
exact variance Σ σ_cell² over the active rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import ReadNoise
from imcsim.functional.devices.context import CellContext, Conductances


def cell_variance(
    model: ReadNoise, conductance: Conductances, context: CellContext
) -> Conductances:
    """Variance of every cell in one read [levels²], same shape as `conductance`."""
    if model.spread == "constant":
        return np.full_like(conductance, (model.sigma * context.on) ** 2)
    return np.asarray((model.sigma * conductance) ** 2)


def column_sigma(
    variance: npt.NDArray[np.float64], active: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Standard deviation of the column sums of reads [levels].

    Parameters
    ----------
    variance : float64 (rows, columns)
        Of the cells of one crossbar.
    active : bool (reads, rows)

    Returns
    -------
    float64 (reads, columns)
    """
    return np.asarray(np.sqrt(active @ variance))
