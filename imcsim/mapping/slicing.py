"""From signed 8-bit weights to cell levels.

A *plane* is what one physical column per weight holds: one slice of the weight's bits, for
differential weights also its sign. The digital value of a weight is ``Σ plane.factor · level −
offset``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip

WEIGHT_BITS = 8
"""Workloads hold int8 weights in −127..127."""
OFFSET = 1 << (WEIGHT_BITS - 1)
"""Added to a weight by offset coding, so that every stored number is positive."""


@dataclass(frozen=True)
class Plane:
    """One column of the cells of a weight."""

    sign: int
    """+1 or −1: how the column's sum enters the weight."""
    shift: int
    """The level's weight is 2^shift."""

    @property
    def factor(self) -> int:
        return self.sign * (1 << self.shift)


@dataclass(frozen=True)
class Slicing:
    """How every weight of a chip is stored."""

    cell_bits: int
    signed_weights: str
    planes: tuple[Plane, ...]
    """Columns of one weight, most significant slice first (NeuroSim's order), positive before
    negative."""

    @property
    def offset(self) -> int:
        """Subtracted once per active input: 128 for offset coding, else 0."""
        return OFFSET if self.signed_weights == "offset" else 0

    @property
    def max_level(self) -> int:
        return (1 << self.cell_bits) - 1


def slicing_of(chip: Chip) -> Slicing:
    """Derive the planes from `device.bits` and `mapping.signed_weights`.

    Offset coding stores w + 128 in ⌈8 / cell bits⌉ cells; differential coding stores |w| (7 bits)
    in ⌈7 / cell bits⌉ cells of the positive or of the negative columns.
    """
    bits, kind = chip.device.bits, chip.mapping.signed_weights
    stored_bits = WEIGHT_BITS if kind == "offset" else WEIGHT_BITS - 1
    slices = -(-stored_bits // bits)
    signs = (1,) if kind == "offset" else (1, -1)
    planes = tuple(Plane(sign, bits * s) for s in reversed(range(slices)) for sign in signs)
    return Slicing(cell_bits=bits, signed_weights=kind, planes=planes)


def slice_weights(weights: npt.NDArray[np.integer], slicing: Slicing) -> npt.NDArray[np.uint8]:
    """Cut weights into cell levels.

    Parameters
    ----------
    weights : integers (rows, c_out) in −127..127.
    slicing : how to store them.

    Returns
    -------
    uint8 (rows, planes, c_out): levels 0..2^bits − 1, with ``Σ factor · level − offset ==
    weights``.
    """
    wide = weights.astype(np.int16)
    mask = slicing.max_level
    levels = np.empty((wide.shape[0], len(slicing.planes), wide.shape[1]), np.uint8)
    for i, plane in enumerate(slicing.planes):
        stored = wide + slicing.offset if slicing.offset else np.maximum(wide * plane.sign, 0)
        levels[:, i] = (stored >> plane.shift) & mask
    return levels
