"""Word-line voltages that vary from read to read (docs/devices.md)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import InputNoise


def drive(
    model: InputNoise, active: npt.NDArray[np.bool_], normals: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Voltages of word lines in units of the read voltage.

    Every column of a crossbar sees the same voltages, so its columns err together: the covariance
    of two column sums is σ²·Σ G_ij·G_ik over the active rows. A row without input stays at 0.

    Parameters
    ----------
    active : bool (..., rows)
    normals : float32 (..., rows)
        Standard normal deviates, one per word line and read.
    """
    return np.where(active, 1 + model.sigma * normals.astype(np.float64), 0.0)
