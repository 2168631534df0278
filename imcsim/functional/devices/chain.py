"""All entries of ``device.nonidealities`` that are fixed when a chip is made, one after the
other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import (
    Drift,
    NonIdeality,
    Programming,
    ProgramVerify,
    StuckAt,
    Temperature,
    WireResistance,
)
from imcsim.config.layout import Section
from imcsim.functional.devices import drift, programming, stuck_at, temperature, wire_resistance
from imcsim.functional.devices.context import CellContext, Conductances

S = TypeVar("S", bound=Section)


def perturbed_weights(
    models: Sequence[NonIdeality],
    weights: npt.NDArray[np.integer],
    context: CellContext,
    largest: int = 127,
) -> npt.NDArray[np.integer]:
    """Weights (rows, c_out) as they are stored, at most `largest`: changed only by programming with
    granularity `weight`."""
    write = find(models, Programming)
    if write is None or write.granularity == "device":
        return weights
    return programming.perturb_weights(write, weights, context, largest)


def programmed_cells(
    models: Sequence[NonIdeality], target: Conductances, context: CellContext
) -> Conductances:
    """Conductances of a layer's cells as a read meets them.

    Parameters
    ----------
    models : entries of ``device.nonidealities``, at most one of each model.
    target : float64 (rows, planes, c_out), in level units with R_off's share.
    context : the layer and the chip instance.
    """
    cells = _written(models, target, context)
    if (drifting := find(models, Drift)) is not None:
        cells = drift.apply(drifting, cells, context)
    if (stuck := find(models, StuckAt)) is not None:
        cells = stuck_at.apply(stuck, cells, context)
    if (warm := find(models, Temperature)) is not None:
        cells = temperature.apply(warm, cells, context)
    if (wires := find(models, WireResistance)) is not None:
        cells = wire_resistance.apply(wires, cells, context)
    return cells


def _written(
    models: Sequence[NonIdeality], target: Conductances, context: CellContext
) -> Conductances:
    write, verify = find(models, Programming), find(models, ProgramVerify)
    if write is None or write.granularity == "weight":
        return target
    if verify is None:
        return programming.write_cells(write, target, context)
    return programming.write_and_verify(write, verify, target, context)


def find(models: Sequence[NonIdeality], kind: type[S]) -> S | None:
    """The entry of one model, if there is one."""
    return next((model for model in models if isinstance(model, kind)), None)
