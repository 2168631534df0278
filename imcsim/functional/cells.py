"""Programming the crossbars: from weights to what the cells really hold, on one chip instance.

What a chip is made with is drawn from its seed by `imcsim.functional.devices`: neither the batch
nor the number of workers can change a chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.functional.cell_formats import parts_per_level, rounded
from imcsim.functional.conductances import given_conductances
from imcsim.functional.devices import (
    CellContext,
    Fluctuations,
    pedestal_levels,
    perturbed_weights,
    programmed_cells,
    taken_before_converter,
)
from imcsim.mapping import LayerMapping, Mapping, slice_weights

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

CONDUCTANCE_UNITS = 16
"""`cell_conductance` counts are in 1/16 level."""


@dataclass(frozen=True, eq=False)
class ProgrammedLayer:
    """The cells of one layer."""

    levels: Levels
    """(word lines, planes · stored columns): uint8 levels of ideal cells, or float32 conductances
    in level units; R_off's share is taken off these with ``device.off_current: corrected`` (an
    ideal dummy column cancels it)."""
    row_conductance: npt.NDArray[np.int64]
    """int64 (word lines,): sum over all cells of a row above R_off, in 1/16 level."""
    fluctuations: Fluctuations | None = None
    """None: equal inputs give equal currents."""
    parts: int | None = None
    """Conductances are multiples of 1/`parts` level; None: they are not (or whole levels)."""


def program(mapping: Mapping, placed: LayerMapping, seed: int | None) -> ProgrammedLayer:
    """Write a layer's weights into its cells.

    Parameters
    ----------
    mapping, placed : the network on the chip, and the layer.
    seed : chip instance, 0..2^64 − 1; None for ideal cells, whatever the chip says.
    """
    weights, slicing, chip = stored_weights(mapping, placed), mapping.slicing, mapping.chip
    if seed is None:
        return _ideal(slice_weights(weights, slicing))
    models, context = chip.device.models, CellContext.of(chip, placed, seed)
    fluctuations = Fluctuations.of(models, context)
    if chip.device.conductances is not None:
        given = given_conductances(mapping, placed, len(slicing.planes) * weights.shape[1])
        return _real(rounded(given, chip, placed.layer.name), chip, fluctuations)
    own = weights[:, : placed.c_out]
    own[...] = perturbed_weights(models, own, context, slicing.largest_weight)
    levels = slice_weights(weights, slicing)
    cells = programmed_cells(models, context.pedestal + levels.astype(np.float64), context)
    # What is as it should be to float32 is exact: its sums are whole numbers.
    if np.array_equal((cells - context.pedestal).astype(np.float32), levels):
        return _ideal(levels, fluctuations)
    read = rounded(cells - taken_before_converter(chip), chip, placed.layer.name)
    return _real(read.reshape(len(weights), -1), chip, fluctuations)


def stored_columns(mapping: Mapping, placed: LayerMapping) -> int:
    """Weights side by side in all crossbars of a row block: the outputs, then the reference column
    of every column block."""
    return placed.c_out + placed.col_blocks * mapping.slicing.has_reference


def stored_weights(mapping: Mapping, placed: LayerMapping) -> npt.NDArray[np.int8]:
    """int8 (word lines, stored columns): a reference column holds weights of 0."""
    weights = np.zeros((placed.rows, stored_columns(mapping, placed)), np.int8)
    weights[:, : placed.c_out] = placed.layer.matrix[placed.matrix_rows]
    return weights


def _real(
    read: npt.NDArray[np.float64], chip: Chip, fluctuations: Fluctuations | None
) -> ProgrammedLayer:
    """Cells with conductances (word lines, columns) in levels, as the converters see them."""
    # R_off's own current is priced by the row.
    pedestal = pedestal_levels(chip) - taken_before_converter(chip)
    above_off = read.sum(axis=1) - read.shape[1] * pedestal
    return ProgrammedLayer(
        levels=_aligned(read.astype(np.float32)),
        row_conductance=np.rint(above_off * CONDUCTANCE_UNITS).astype(np.int64),
        fluctuations=fluctuations,
        parts=parts_per_level(chip),
    )


def _ideal(
    levels: npt.NDArray[np.uint8], fluctuations: Fluctuations | None = None
) -> ProgrammedLayer:
    flat = levels.reshape(len(levels), -1)
    conductance = flat.sum(axis=1, dtype=np.int64) * CONDUCTANCE_UNITS
    return ProgrammedLayer(_aligned(flat), conductance, fluctuations)


def _aligned(levels: Levels) -> Levels:
    """Copy to a 64-byte boundary: row additions run 30 to 45 % faster than from numpy's 16."""
    raw = np.empty(levels.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + levels.nbytes].view(levels.dtype).reshape(levels.shape)
    copy[...] = levels
    copy.setflags(write=False)
    return copy
