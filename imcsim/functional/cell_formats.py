"""Conductances as whole numbers of parts of a level, for reading by integers: `device.cells`.

Bytes of eighths span 31.9 levels from the lowest conductance of a layer, 16 bits of sixteenths
±2,047 levels. Rounding moves a conductance by at most half a part, mostly without a bias.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.errors import MappingError

CUT_OFF = 1e-4
"""Share of a layer's programmed cells that may be beyond a format and are held at its end: at most
one in 10,000. Given conductances are never cut off."""


def parts_per_level(chip: Chip) -> int | None:
    """Parts of a level that conductances are rounded to; None: they are float32."""
    return {"float32": None, "eighths": 8, "sixteenths": 16}[chip.device.cells]


def rounded(levels: npt.NDArray[np.float64], chip: Chip, layer: str) -> npt.NDArray[np.float64]:
    """Conductances of a layer [levels] as `device.cells` keeps them.

    Raises
    ------
    MappingError
        If too many are beyond the format.
    """
    parts = parts_per_level(chip)
    if parts is None:
        return levels
    whole = np.rint(levels * parts)
    lowest, highest = _limits(whole, parts)
    held = np.clip(whole, lowest, highest)
    beyond = int(np.count_nonzero(held != whole))
    given = chip.device.conductances is not None
    if beyond > (0 if given else CUT_OFF * whole.size):
        wider = "float32" if parts == 16 else "sixteenths"
        raise MappingError(
            f"layer {layer}: {beyond:,} of {whole.size:,} conductances are beyond"
            f" {lowest / parts:g} to {highest / parts:g} levels, what device.cells"
            f" {chip.device.cells} can hold here (take {wider})"
        )
    held /= parts
    return held


def _limits(whole: npt.NDArray[np.float64], parts: int) -> tuple[float, float]:
    if parts == 16:
        return float(1 - (1 << 15)), float((1 << 15) - 1)
    lowest = min(float(whole.min(initial=0)), 0.0)
    return lowest, lowest + 255


def not_for_general_reads(chip: Chip) -> MappingError:
    """What to raise where conductances are no whole levels and only the general kernel can read."""
    return MappingError(
        f"device.cells {chip.device.cells} is for ideal converters that read whole crossbars in"
        " row order channel, without reference columns, analog subtraction, R_off's current or"
        " noise of reads (take float32)"
    )


def too_wide(chip: Chip, layer: str) -> MappingError:
    """What to raise where a layer's sums or steps are beyond the integer kernels."""
    return MappingError(
        f"layer {layer}: device.cells {chip.device.cells} cannot hold sums of"
        f" {chip.crossbar.rows} word lines or ADC steps of this size in 16 bits (take float32)"
    )
