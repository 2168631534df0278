"""Technology tables as files: every entry is ``{value: 0.0133, unit: pJ, source: "..."}``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from imcsim.chip.technology import Technology, Value
from imcsim.config.check import format_fault
from imcsim.config.faults import Fault, Option, Origin, Place, UnreadableError, raise_faults
from imcsim.config.messages import close_match, did_you_mean, got, has_control
from imcsim.config.yaml_positions import Document, KeyPath, dotted, read_document
from imcsim.errors import ArchError

TECHNOLOGY_FORMAT = "imcsim-technology/1"
ENTRIES = tuple(
    name for name, field in Technology.model_fields.items() if field.annotation is Value
)
"""Names of the component values, in the order of the class."""

_HEADING = ("name", "description")
_PARTS = ("value", "unit", "source")
# Suffix of an entry -> unit -> exponent of ten that turns it into SI; the first that fits counts.
_UNITS: Mapping[str, Mapping[str, int]] = {
    "_bit_m_j": {"J/m": 0, "pJ/mm": -9, "fJ/mm": -12, "fJ/um": -9},
    "_j": {"J": 0, "mJ": -3, "uJ": -6, "nJ": -9, "pJ": -12, "fJ": -15, "aJ": -18},
    "_w": {"W": 0, "mW": -3, "uW": -6, "nW": -9, "pW": -12},
    "_m2": {"m2": 0, "mm2": -6, "um2": -12},
    "_s": {"s": 0, "ms": -3, "us": -6, "ns": -9, "ps": -12},
    "_v": {"V": 0, "mV": -3},
}


def load_technology(name_or_path: str | Path) -> Technology:
    """Load a packaged table by its name (``neurosim_32nm_lstp``) or the user's own by its path.

    Raises
    ------
    ArchError
        With every fault of the file, one line each.
    """
    faults: list[Fault] = []
    name = str(name_or_path)
    technology = _read_base(name, Place("technology"), "", Path(), faults)
    if technology is None or faults:
        raise_faults(faults, ArchError)
    return technology


def packaged_technologies() -> tuple[str, ...]:
    """Names of the tables that come with imcsim."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


def _most(entry: str) -> float:
    """Largest value in SI units: far beyond any chip, but no sum of such values overflows."""
    return 5.0 if entry.endswith("_v") else 1.0


def units_of(entry: str) -> Mapping[str, int]:
    """Units that an entry may be given in, with their exponents of ten; the first one is SI."""
    return next(units for suffix, units in _UNITS.items() if entry.endswith(suffix))


def si_unit(entry: str) -> str:
    """SI unit of an entry: ``J`` of ``adder_bit_j``."""
    return next(iter(units_of(entry)))


def overlay_technology(document: Document, faults: list[Fault]) -> Technology | None:
    """The technology of an architecture: the base table, if any, under the file's own values."""
    key = "technology"
    root = document.entry((key,))
    if key not in document.data:
        known = ", ".join(packaged_technologies())
        message = f"missing; wanted is one of {known}, a path, or a mapping with base"
        faults.append(Fault(root.key, key, message))
        return None
    raw = document.data[key]
    if not isinstance(raw, dict):
        message = f"must be a name, a path or a mapping with base (got {got(raw, root.text)})"
        faults.append(Fault(root.origin, key, message))
        return None
    own = {name: value for name, value in raw.items() if name != "base"}
    if "base" not in raw:
        whole = _technology(own, (key,), document, faults)
        return whole and _renamed(whole, _set_values(own, document))
    before = len(faults)
    base = _named_base(raw["base"], document, faults)
    heading = _heading(own, (key,), document, faults, needed=False)
    values = _read_entries(own, (key,), document, faults)
    if base is None or len(faults) > before:
        return None
    changed = _set_values(own, document) if "name" in heading else list(values)
    changed = [name for name in changed if values[name].value != getattr(base, name).value]
    return _renamed(base.model_copy(update={**heading, **values}), changed)


def _set_values(own: Mapping[str, Any], document: Document) -> list[str]:
    """Entries that an option gives."""
    origins = {name: document.entry(("technology", name)).origin for name in own if name in ENTRIES}
    return [name for name, origin in origins.items() if isinstance(origin, Option)]


def _renamed(technology: Technology, changed: Sequence[str]) -> Technology:
    """A table whose name tells that it is no longer the one of that name."""
    if not changed:
        return technology
    values = "1 value" if len(changed) == 1 else f"{len(changed)} values"
    return technology.model_copy(update={"name": f"{technology.name} with {values} changed"})


def _named_base(name: Any, document: Document, faults: list[Fault]) -> Technology | None:
    entry = document.entry(("technology", "base"))
    if not isinstance(name, str):
        message = f"must be a name or a path (got {got(name, entry.text)})"
        faults.append(Fault(entry.origin, "technology.base", message))
        return None
    # A path counts from the file that says it, not from the top one; an option's, from here.
    folder = Path(entry.origin.file).parent if isinstance(entry.origin, Place) else Path()
    return _read_base(name, entry.origin, "technology", folder, faults)


def _read_base(
    name: str, origin: Origin, key: str, folder: Path, faults: list[Fault]
) -> Technology | None:
    """Read the table called `name`; a path counts from `folder`; `origin` said the name."""
    path = folder / name
    if path.suffix not in (".yaml", ".yml"):
        known = packaged_technologies()
        if name not in known:
            hint = did_you_mean(name, known) or "; a path ends in .yaml"
            message = f"must be one of {', '.join(known)} or a path (got {got(name, None)}){hint}"
            faults.append(Fault(origin, key, message))
            return None
        path = Path(__file__).parent / f"{name}.yaml"
    try:
        document = read_document(path)
    except UnreadableError as error:
        faults.append(_referred(error.fault, origin, key))
        return None
    wrong = format_fault(document, TECHNOLOGY_FORMAT)
    if wrong:
        faults.append(wrong)
        return None
    faults.extend(document.faults)
    data = {name: value for name, value in document.data.items() if name != "format"}
    return _technology(data, (), document, faults)


def _referred(fault: Fault, origin: Origin, key: str) -> Fault:
    """A fault of a file as a whole (it is missing) lies where the file is named, if anywhere."""
    named = isinstance(origin, Option) or origin.line > 0
    whole = isinstance(fault.origin, Place) and fault.origin.line == 0
    return Fault(origin, key, f"{fault.origin}: {fault.message}") if named and whole else fault


def _technology(
    data: Mapping[str, Any], prefix: KeyPath, document: Document, faults: list[Fault]
) -> Technology | None:
    """A complete table, which stands on no other."""
    before = len(faults)
    # A misspelt entry is already reported and not missing as well.
    meant = {_meant(name, prefix) for name in data if name not in (*ENTRIES, *_HEADING)}
    heading = _heading(data, prefix, document, faults, needed="base" not in meant)
    values = _read_entries(data, prefix, document, faults)
    missing = [name for name in ENTRIES if name not in data and name not in meant]
    missing = [] if "base" in meant else missing
    if missing:
        names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        way_out = f"; write base: {packaged_technologies()[0]} to take them from there"
        message = f"missing entries {names}{way_out if prefix else ''}"
        faults.append(Fault(document.entry(prefix).key, dotted(prefix), message))
    if len(faults) > before:
        return None
    return Technology.model_validate({**heading, **values})


def _heading(
    data: Mapping[str, Any],
    prefix: KeyPath,
    document: Document,
    faults: list[Fault],
    *,
    needed: bool,
) -> dict[str, str]:
    """Name and description of a table, as far as they are there."""
    found = {}
    for name in _HEADING:
        path = (*prefix, name)
        entry = document.entry(path)
        if name not in data:
            if needed:
                faults.append(Fault(entry.key, dotted(path), "missing; wanted is text"))
        elif isinstance(data[name], str) and has_control(data[name]):
            message = f"must be text without control characters (got {got(data[name], None)})"
            faults.append(Fault(entry.origin, dotted(path), message))
        elif isinstance(data[name], str) and data[name]:
            found[name] = data[name]
        else:
            message = f"must be text (got {got(data[name], entry.text)})"
            faults.append(Fault(entry.origin, dotted(path), message))
    return found


def _read_entries(
    data: Mapping[str, Any], prefix: KeyPath, document: Document, faults: list[Fault]
) -> dict[str, Value]:
    """The component values in `data`, converted to SI; keys that are none are faults."""
    values = {}
    for name, raw in data.items():
        path = (*prefix, name)
        if name in _HEADING:
            continue
        if name not in ENTRIES:
            near = _meant(name, prefix)
            message = f"unknown key; did you mean {near}?" if near else "unknown key"
            faults.append(Fault(document.entry(path).key, dotted(path), message))
        elif (value := _read_entry(name, raw, path, document, faults)) is not None:
            values[name] = value
    return values


def _meant(name: str, prefix: KeyPath) -> str | None:
    """The key that was probably meant; only inside an architecture a table can have a base."""
    if prefix and name == "extends":
        return "base"
    return close_match(name, [*ENTRIES, "base"] if prefix else ENTRIES)


def _read_entry(
    name: str, raw: Any, path: KeyPath, document: Document, faults: list[Fault]
) -> Value | None:
    """One component value in SI units, or None and its faults."""
    units = units_of(name)
    if not isinstance(raw, dict):
        entry = document.entry(path)
        example = f"{{value: 1.5, unit: {list(units)[-1]}, source: where it is from}}"
        message = f"must be a mapping such as {example} (got {got(raw, entry.text)})"
        faults.append(Fault(entry.origin, dotted(path), message))
        return None
    found = [
        Fault(document.entry((*path, part)).key, dotted((*path, part)), f"unknown key{hint}")
        for part in raw
        if part not in _PARTS
        for hint in [did_you_mean(part, _PARTS)]
    ]
    for part in _PARTS:
        entry = document.entry((*path, part))
        bare = isinstance(entry.origin, Option)  # an option gives a number without its unit
        wrong = _part_fault(part, raw, units, entry.text, bare)
        if wrong:
            origin = entry.origin if part in raw else document.entry(path).key
            found.append(Fault(origin, dotted((*path, part)), wrong))
    faults.extend(found)
    if found:
        return None
    exponent = units[_plain_unit(raw["unit"])]
    # Decimal shifts the point without rounding, so 0.0133 pJ is the float 1.33e-14 exactly.
    value = float(Decimal(repr(raw["value"])).scaleb(exponent))
    if value > _most(name):
        entry = document.entry((*path, "value"))
        unit = "" if isinstance(entry.origin, Option) else f" {raw['unit']}"
        shown = got(raw["value"], entry.text) + unit
        message = f"must be at most {_most(name):g} {si_unit(name)} (got {shown})"
        faults.append(Fault(entry.origin, dotted((*path, "value")), message))
        return None
    return Value(value=value, source=raw["source"])


def _part_fault(
    part: str, raw: Mapping[str, Any], units: Mapping[str, int], text: str | None, bare: bool
) -> str | None:
    if part not in raw:
        return "missing"
    if part == "value":
        return _value_fault(raw[part], f" in {next(iter(units))}" if bare else "", text)
    return _unit_fault(raw[part], units) if part == "unit" else _source_fault(raw[part], text)


def _value_fault(value: Any, unit: str, text: str | None) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        hint = "; its unit goes into unit" if isinstance(value, str) and not unit else ""
        return f"must be a number{unit} (got {got(value, text)}){hint}"
    return f"must not be negative (got {got(value, text)})" if value < 0 else None


def _source_fault(value: Any, text: str | None) -> str | None:
    if isinstance(value, str) and value.strip():
        return None
    return f"must say where the value is from (got {got(value, text)})"


def _unit_fault(unit: Any, units: Mapping[str, int]) -> str | None:
    if isinstance(unit, str) and _plain_unit(unit) in units:
        return None
    return f"must be one of {', '.join(units)} (got {got(unit, None)}){did_you_mean(unit, units)}"


def _plain_unit(unit: str) -> str:
    """Spell µ as u and ² as 2."""
    return unit.replace("µ", "u").replace("μ", "u").replace("²", "2")
