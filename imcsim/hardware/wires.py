"""H-trees and mesh links; lengths follow from the area that they span."""

from __future__ import annotations

import math
from dataclasses import dataclass

from imcsim.chip import Chip

HTREE_AREA_LENGTH_M = 0.6e-3
"""Root to leaf of the tree whose area is `htree_bit_m2`: 4×4 units of 0.2 mm, so 0.8 mm · (1 −
1/4)."""


@dataclass(frozen=True)
class HTree:
    """An H-tree between the root of a square block and its leaves."""

    bit_j: float
    """Per bit from root to one leaf, or back."""
    length_m: float
    area_m2: float

    @classmethod
    def of(cls, chip: Chip, leaves: int, spanned_m2: float, width_bits: int) -> HTree:
        """A tree over `leaves` equal blocks of `spanned_m2` in all.

        Every doubling of the leaves per side halves the wire segments: L/2 + L/4 + … = L·(1 −
        1/√leaves) for a square of side L.
        """
        length = math.sqrt(spanned_m2) * (1 - 1 / math.sqrt(leaves))
        values = chip.technology
        return cls(
            bit_j=length * values.htree_bit_m_j.value,
            length_m=length,
            area_m2=width_bits * values.htree_bit_m2.value * length / HTREE_AREA_LENGTH_M,
        )


@dataclass(frozen=True)
class Mesh:
    """Routers and links; a link is one tile pitch long."""

    router_bit_j: float
    link_bit_j: float
    router_m2: float
    router_leakage_w: float

    @classmethod
    def of(cls, chip: Chip, tile_m2: float) -> Mesh:
        values = chip.technology
        return cls(
            router_bit_j=values.router_bit_j.value,
            link_bit_j=math.sqrt(tile_m2) * values.link_bit_m_j.value,
            router_m2=values.router_m2.value,
            router_leakage_w=values.router_leakage_w.value,
        )
