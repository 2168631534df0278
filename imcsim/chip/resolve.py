"""A chip written out in full, so that a run can be repeated from its directory, and its hash."""

from __future__ import annotations

from typing import Any

from imcsim.chip.layers import ARCH_FORMAT, ARCH_LAYOUT
from imcsim.chip.schema import Chip
from imcsim.chip.technology.table import ENTRIES, si_unit
from imcsim.config.layout import content_hash
from imcsim.config.yaml_positions import dump_document


def resolved(chip: Chip) -> dict[str, Any]:
    """Everything that is known of a chip, as plain data in the form of an architecture file.

    Technology values are in SI units, each with its source; nothing refers to another file.
    """
    table = chip.technology
    technology: dict[str, Any] = {"name": table.name, "description": table.description}
    for name in ENTRIES:
        entry = getattr(table, name)
        technology[name] = {"value": entry.value, "unit": si_unit(name), "source": entry.source}
    return {
        "format": ARCH_FORMAT,
        "name": chip.name,
        "description": chip.description,
        "technology": technology,
        **{name: getattr(chip, name).model_dump(mode="json") for name in ARCH_LAYOUT.sections},
    }


def dump_chip(chip: Chip) -> str:
    """YAML text of `resolved`; `load_chip` of it gives an equal chip."""
    return dump_document(resolved(chip))


def chip_hash(chip: Chip) -> str:
    """SHA-256 of the built chip, in hexadecimal: equal however its file spells the numbers."""
    return content_hash(chip)
