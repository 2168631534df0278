"""One noisy read of one row block, slowly and obviously: what the kernels must agree with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import InputNoise, ReadNoise
from imcsim.functional.devices import input_noise, read_noise
from imcsim.functional.devices.context import CellContext, Conductances
from imcsim.functional.devices.read_draws import Read, ReadKind, line_normals, normal_quantiles


def column_sums(
    conductance: Conductances,
    active: npt.NDArray[np.bool_],
    read: Read,
    context: CellContext,
    noise_of_cells: ReadNoise | None,
    noise_of_inputs: InputNoise | None,
) -> npt.NDArray[np.float64]:
    """Sums that the converters see, all columns of a layer side by side.

    Each crossbar has its own drivers: word line r of array a (``column block · arrays per weight +
    array``) is line ``a · crossbar_rows + r`` of the read. Column c of the layer, planes one after
    the other, is line c. The product of the two noises is left out: it is of second order.

    Parameters
    ----------
    conductance : float64 (rows of the row block, planes, width)
    active : bool (rows of the row block,)
    read : address; its `kind` does not matter.

    Returns
    -------
    float64 (planes, width)
    """
    quantiles = normal_quantiles()
    grid, (_, planes, width) = context.grid, conductance.shape
    arrays = grid.col_blocks * grid.arrays_per_weight
    drives = np.tile(active.astype(np.float64)[:, None], arrays)
    if noise_of_inputs is not None:
        word_lines = replace(read, kind=ReadKind.ROW)
        drawn = line_normals(context.seed, word_lines, arrays * grid.crossbar_rows, quantiles)
        by_crossbar = drawn.reshape(-1, grid.crossbar_rows)[:, : len(active)].T
        drives = input_noise.drive(noise_of_inputs, active[:, None], by_crossbar)
    sums = np.asarray((drives[:, grid.array_of_column(planes)] * conductance).sum(axis=0))
    if noise_of_cells is None:
        return sums
    variance = read_noise.cell_variance(noise_of_cells, conductance, context)
    sigma = read_noise.column_sigma(variance.reshape(len(active), -1), active[None])
    columns = replace(read, kind=ReadKind.COLUMN)
    drawn = line_normals(context.seed, columns, planes * width, quantiles)
    return np.asarray(sums + (sigma[0] * drawn).reshape(planes, width))
