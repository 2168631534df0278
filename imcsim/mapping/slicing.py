"""From signed weights to cell levels.

A *plane* is what one physical column per weight holds: one slice of the weight's bits, for
differential weights also its sign. The digital value of a weight is ``Σ plane.factor · level −
stored_offset``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.errors import MappingError
from imcsim.network.layers import Network


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
    weight_bits: int = 8
    subtracts_currents: bool = False
    """Positive and negative columns are subtracted before they are converted."""

    @property
    def stored_offset(self) -> int:
        """Added to a weight, so that every stored number is positive: 128 for 8 bits, 0 for
        differential coding."""
        return 0 if self.signed_weights == "differential" else 1 << (self.weight_bits - 1)

    @property
    def offset(self) -> int:
        """Subtracted once per active input, by their popcount; 0 where a column or nothing is."""
        return self.stored_offset if self.signed_weights == "offset" else 0

    @property
    def has_reference(self) -> bool:
        """Whether every crossbar holds a column of zero weights that is subtracted from the
        others."""
        return self.signed_weights == "offset_column"

    @property
    def largest_weight(self) -> int:
        """2^(weight bits − 1) − 1; its negative is the smallest one."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def max_level(self) -> int:
        return (1 << self.cell_bits) - 1

    @property
    def conversions(self) -> tuple[Plane, ...]:
        """What is converted of one weight: every plane, or each pair's difference."""
        if not self.subtracts_currents:
            return self.planes
        return tuple(plane for plane in self.planes if plane.sign > 0)

    @property
    def slices(self) -> int:
        """Parts of a weight's bits; see `Plane.shift`."""
        return len({plane.shift for plane in self.planes})


def slicing_of(chip: Chip) -> Slicing:
    """Derive the planes from `device.bits` and the keys of `mapping`.

    With b weight bits, offset coding stores w + 2^(b − 1) in ⌈b / cell bits⌉ cells; differential
    coding stores |w| (b − 1 bits) in ⌈(b − 1) / cell bits⌉ cells of the positive or of the negative
    columns.
    """
    bits, rules = chip.device.bits, chip.mapping
    signs = (1, -1) if rules.signed_weights == "differential" else (1,)
    shifts = reversed(range(chip.slices_per_weight))
    return Slicing(
        cell_bits=bits,
        signed_weights=rules.signed_weights,
        planes=tuple(Plane(sign, bits * s) for s in shifts for sign in signs),
        weight_bits=rules.weight_bits,
        subtracts_currents=rules.subtract == "analog",
    )


def slice_weights(weights: npt.NDArray[np.integer], slicing: Slicing) -> npt.NDArray[np.uint8]:
    """Cut weights into cell levels.

    Parameters
    ----------
    weights : integers (rows, c_out), −`largest_weight`..`largest_weight`.
    slicing : how to store them.

    Returns
    -------
    uint8 (rows, planes, c_out): levels 0..2^bits − 1, with ``Σ factor · level − stored_offset ==
    weights``.
    """
    wide = weights.astype(np.int16)
    mask, offset = slicing.max_level, slicing.stored_offset
    levels = np.empty((wide.shape[0], len(slicing.planes), wide.shape[1]), np.uint8)
    for i, plane in enumerate(slicing.planes):
        stored = wide + offset if offset else np.maximum(wide * plane.sign, 0)
        levels[:, i] = (stored >> plane.shift) & mask
    return levels


def check_weights(network: Network, slicing: Slicing) -> None:
    """Refuse weights that the chip's `mapping.weight_bits` cannot hold.

    Raises
    ------
    MappingError
        Names the first such layer, and its largest weight.
    """
    limit = slicing.largest_weight
    for index in network.weight_layers:
        layer = network.layers[index]
        weights = layer.matrix
        largest = int(weights.flat[np.argmax(np.abs(weights.astype(np.int16)))])
        if abs(largest) > limit:
            needed = abs(largest).bit_length() + 1
            raise MappingError(
                f"layer {layer.name} has a weight of {largest}, mapping.weight_bits"
                f" {slicing.weight_bits} holds {-limit}..{limit} (raise it to {needed}, or quantise"
                " the network to fewer bits)"
            )
