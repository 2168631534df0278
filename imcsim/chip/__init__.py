"""From an architecture file to a validated, frozen `Chip`."""

from imcsim.chip.load import load_chip
from imcsim.chip.resolve import chip_hash, dump_chip, resolved
from imcsim.chip.schema import Chip
from imcsim.chip.technology import Technology, Value
from imcsim.chip.technology.table import load_technology, packaged_technologies

__all__ = [
    "Chip",
    "Technology",
    "Value",
    "chip_hash",
    "dump_chip",
    "load_chip",
    "load_technology",
    "packaged_technologies",
    "resolved",
]
