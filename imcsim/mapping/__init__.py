"""Which weight slice sits on which crossbar, PE, tile and mesh node."""

from imcsim.mapping.placement import LayerMapping, Mapping, map_network
from imcsim.mapping.slicing import Plane, Slicing, slice_weights, slicing_of

__all__ = [
    "LayerMapping",
    "Mapping",
    "Plane",
    "Slicing",
    "map_network",
    "slice_weights",
    "slicing_of",
]
