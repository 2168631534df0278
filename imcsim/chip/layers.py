"""An architecture as one document: the file and the files it extends, technology written out."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from imcsim.chip.schema import Chip, Heading
from imcsim.chip.technology.table import ENTRIES, si_unit
from imcsim.config.check import format_fault
from imcsim.config.faults import Fault, Origin, Place, UnreadableError
from imcsim.config.layout import Layout
from imcsim.config.messages import got
from imcsim.config.yaml_positions import Document, KeyPath, read_document

ARCH_FORMAT = "imcsim-arch/1"
SET_SOURCE = "set on the command line"
"""Source of a technology value that an option gives."""

ARCH_LAYOUT = Layout(
    model=Chip,
    heading=Heading,
    example="adc.bits=5",
    extra=MappingProxyType({"technology": ENTRIES}),
    file_only=("extends",),
)


def read_layers(path: str | Path, faults: list[Fault]) -> Document:
    """Read an architecture file and, where it says ``extends``, the file it stands on.

    Raises
    ------
    UnreadableError
        If one of the files cannot be used at all.
    """
    return _read_layer(str(path), Place(str(path)), (), faults)


def _read_layer(file: str, origin: Origin, above: tuple[str, ...], faults: list[Fault]) -> Document:
    document = read_document(file)
    real = str(Path(file).resolve())
    if real in above:
        circle = " -> ".join(Path(f).name for f in (*above[above.index(real) :], real))
        raise UnreadableError(Fault(origin, "extends", f"goes in a circle: {circle}"))
    wrong = _wrong_format(document)
    if wrong:
        raise UnreadableError(wrong)
    faults.extend(document.faults)
    document.data.pop("format", None)
    _name_technology(document)
    if "extends" not in document.data:
        return document
    entry = document.entry(("extends",))
    base_name = document.data.pop("extends")
    if not isinstance(base_name, str) or not base_name:
        message = f"must be the path of an architecture file (got {got(base_name, entry.text)})"
        raise UnreadableError(Fault(entry.origin, "extends", message))
    base_file = Path(file).parent / base_name
    if not base_file.is_file():
        raise UnreadableError(Fault(entry.origin, "extends", f"{base_file} is no file"))
    base = _read_layer(str(base_file), entry.origin, (*above, real), faults)
    return _overlay(base, document)


def _wrong_format(document: Document) -> Fault | None:
    found = document.data.get("format")
    if isinstance(found, str) and found.startswith("imcsim-run/"):
        message = "this is the configuration of a run, not an architecture"
        return Fault(document.entry(("format",)).origin, "format", message)
    return format_fault(document, ARCH_FORMAT)


def _name_technology(document: Document) -> None:
    """Write ``technology: NAME`` in its long form, ``technology: {base: NAME}``."""
    technology = document.data.get("technology")
    if isinstance(technology, str):
        document.data["technology"] = {"base": technology}
        document.entries["technology", "base"] = document.entries["technology",]


def _overlay(base: Document, top: Document) -> Document:
    """`base` under the keys of `top`; values within sections are replaced whole."""
    data = dict(base.data)
    gone: set[KeyPath] = set()
    for name, value in top.data.items():
        below = data.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            data[name] = {**below, **value}
            gone |= {(name, key) for key in value}
        else:
            data[name] = value
            gone.add((name,))
    kept = {path: entry for path, entry in base.entries.items() if not _lies_in(path, gone)}
    return Document(top.file, data, kept | top.entries)


def _lies_in(path: KeyPath, gone: set[KeyPath]) -> bool:
    return path[:1] in gone or path[:2] in gone


def spell_out(path: KeyPath, value: Any) -> Any:
    """What a file would hold where an option gives `value`: a bare number of a technology is in SI
    units."""
    if path == ("technology",):
        return {"base": value}
    if path[0] == "technology" and not isinstance(value, dict):
        return {"value": value, "unit": si_unit(str(path[1])), "source": SET_SOURCE}
    return value
