"""Programming the crossbars: from weights to what the cells really hold, on one chip instance.

Every draw is a pure function of (seed, model, layer, crossbar, cell): each crossbar has its own
Philox stream, read in cell order, so neither the batch nor the number of workers can change a chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.functional.conductances import given_conductances
from imcsim.mapping import LayerMapping, Mapping, slice_weights

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

CONDUCTANCE_UNITS = 16
"""`cell_conductance` counts are in 1/16 level."""
_WEIGHT_MODEL, _DEVICE_MODEL = 0, 1
"""Keep the draws of the variation models apart."""


@dataclass(frozen=True, eq=False)
class ProgrammedLayer:
    """The cells of one layer."""

    levels: Levels
    """(word lines, planes · stored columns): uint8 levels of ideal cells, or float32 conductances
    in level units; R_off's share is taken off these with ``device.off_current: corrected`` (an
    ideal dummy column cancels it)."""
    row_conductance: npt.NDArray[np.int64]
    """int64 (word lines,): sum over all cells of a row above R_off, in 1/16 level."""


def program(
    mapping: Mapping, placed: LayerMapping, seed: int | None, variation: float
) -> ProgrammedLayer:
    """Write a layer's weights into its cells.

    Parameters
    ----------
    mapping, placed : the network on the chip, and the layer.
    seed : chip instance, 0..2^64 − 1; None for ideal cells, whatever the chip says.
    variation : σ/μ; 0 gives ideal cells whatever the model.

    Notes
    -----
    `weight` model (Li et al., Sec. IV-A5: "adding noise to the weights post-training"):
    w' = clip(round(w·(1 + σ·n)), ±127) for 8 weight bits, then sliced into exact cells.
    `device` model: every cell G' = G·(1 + σ·n), not below 0, those at R_off too.
    """
    weights, slicing = stored_weights(mapping, placed), mapping.slicing
    model = mapping.chip.device.variation_model
    if seed is not None and mapping.chip.device.conductances is not None:
        columns = len(slicing.planes) * stored_columns(mapping, placed)
        return _real(given_conductances(mapping, placed, columns), mapping.chip)
    if seed is None or variation == 0:
        return _ideal(slice_weights(weights, slicing))
    if model == "weight":
        noise = _draw(mapping, placed, seed, _WEIGHT_MODEL, cells=1)[:, 0]
        limit = slicing.largest_weight
        perturbed = np.clip(np.rint(weights * (1 + variation * noise)), -limit, limit)
        return _ideal(slice_weights(perturbed.astype(np.int8), slicing))
    noise = _draw(mapping, placed, seed, _DEVICE_MODEL, cells=len(slicing.planes))
    levels = slice_weights(weights, slicing).astype(np.float64)
    pedestal = pedestal_levels(mapping.chip)
    varied = np.maximum((pedestal + levels) * (1 + variation * noise), 0)
    varied -= pedestal - _read_pedestal(mapping.chip)
    return _real(varied.reshape(len(weights), -1), mapping.chip)


def pedestal_levels(chip: Chip) -> float:
    """Conductance of level 0 in level steps: (2^bits − 1) / (R_off/R_on − 1), 15/9 by Table I."""
    return chip.g_off_s / chip.level_s


def stored_columns(mapping: Mapping, placed: LayerMapping) -> int:
    """Weights side by side in all crossbars of a row block: the outputs, then the reference column
    of every column block."""
    return placed.c_out + placed.col_blocks * mapping.slicing.has_reference


def stored_weights(mapping: Mapping, placed: LayerMapping) -> npt.NDArray[np.int8]:
    """int8 (word lines, stored columns): a reference column holds weights of 0."""
    weights = np.zeros((placed.rows, stored_columns(mapping, placed)), np.int8)
    weights[:, : placed.c_out] = placed.layer.matrix[placed.matrix_rows]
    return weights


def _read_pedestal(chip: Chip) -> float:
    """R_off's share of what the converters see of a cell [levels]."""
    return 0.0 if chip.device.off_current == "corrected" else pedestal_levels(chip)


def _real(read: npt.NDArray[np.float64], chip: Chip) -> ProgrammedLayer:
    """Cells with conductances (word lines, columns) in levels, as the converters see them."""
    # R_off's own current is priced by the row.
    above_off = read.sum(axis=1) - read.shape[1] * _read_pedestal(chip)
    return ProgrammedLayer(
        levels=_aligned(read.astype(np.float32)),
        row_conductance=np.rint(above_off * CONDUCTANCE_UNITS).astype(np.int64),
    )


def _ideal(levels: npt.NDArray[np.uint8]) -> ProgrammedLayer:
    flat = levels.reshape(len(levels), -1)
    return ProgrammedLayer(_aligned(flat), flat.sum(axis=1, dtype=np.int64) * CONDUCTANCE_UNITS)


def _draw(
    mapping: Mapping, placed: LayerMapping, seed: int, model: int, cells: int
) -> npt.NDArray[np.float64]:
    """Standard normal draws (word lines, cells, stored columns), one Philox stream per crossbar
    (with slices in separate crossbars: for all crossbars of a weight).

    A stream always fills a whole crossbar, so that a draw does not depend on how full that is.
    """
    reference = int(mapping.slicing.has_reference)
    block, width = placed.crossbar_rows, placed.weights_per_crossbar
    drawn = np.empty((placed.rows, cells, stored_columns(mapping, placed)))
    ends = (*placed.row_starts[1:], placed.rows)
    for column in range(placed.col_blocks):
        first = column * width
        last = min(first + width, placed.c_out)
        for row, (top, end) in enumerate(zip(placed.row_starts, ends, strict=True)):
            crossbar = column * placed.row_blocks + row
            key = np.array([seed, (model << 60) | (placed.index << 32) | crossbar], np.uint64)
            draws = (
                np.random.Generator(np.random.Philox(key=key))
                .standard_normal((block, width + reference, cells))[: end - top]
                .transpose(0, 2, 1)
            )
            drawn[top:end, :, first:last] = draws[:, :, : last - first]
            if reference:
                drawn[top:end, :, placed.c_out + column] = draws[:, :, width]
    return drawn


def _aligned(levels: Levels) -> Levels:
    """Copy to a 64-byte boundary: row additions run 30 to 45 % faster than from numpy's 16."""
    raw = np.empty(levels.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + levels.nbytes].view(levels.dtype).reshape(levels.shape)
    copy[...] = levels
    copy.setflags(write=False)
    return copy
