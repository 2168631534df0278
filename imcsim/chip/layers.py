"""An architecture as one document: the file, the files it extends, and ``--set`` options on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imcsim.chip.faults import Fault, Option, Origin, Place, UnreadableError
from imcsim.chip.messages import close_match, got
from imcsim.chip.schema import Chip, Heading, Section
from imcsim.chip.technology.table import ENTRIES, format_fault, si_unit
from imcsim.chip.yaml_positions import (
    Document,
    Entry,
    KeyPath,
    parse_scalar,
    read_document,
)

ARCH_FORMAT = "imcsim-arch/1"
SET_SOURCE = "set on the command line"
"""Source of a technology value that an option gives."""

Overrides = Mapping[str, Any] | Sequence[str]


def sections() -> dict[str, type[Section]]:
    """Name and class of every section of an architecture, in order."""
    fields = Chip.model_fields.items()
    return {
        name: field.annotation
        for name, field in fields
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def known_keys() -> list[str]:
    """Every key that ``--set`` takes, dotted."""
    keys = [f"{name}.{key}" for name, model in sections().items() for key in model.model_fields]
    keys += [f"technology.{entry}" for entry in ENTRIES]
    return [*Heading.model_fields, "technology", *keys]


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


def apply_overrides(document: Document, overrides: Overrides, faults: list[Fault]) -> None:
    """Put ``--set`` values into `document`, in place; the last one of a key counts.

    Parameters
    ----------
    overrides : mapping or sequence of str
        ``{"adc.bits": 5}``, or ``["adc.bits=5"]`` with YAML 1.2 scalars as on the command line.
    """
    settings = _settings(overrides, faults)
    known = known_keys()
    # A whole technology goes in before its single values.
    for key in sorted(settings, key=lambda key: key != "technology"):
        option, value = settings[key]
        if key not in known:
            faults.append(Fault(option, "", _unknown_key(key, known)))
            continue
        name, _, leaf = key.partition(".")
        entry = Entry(option, option, got(value, None))
        if not leaf:
            _set_top(document, name, value, entry)
            continue
        section = document.data.setdefault(name, {})
        if not isinstance(section, dict):
            continue  # the file is at fault there, and that is reported
        section = document.data[name] = dict(section)
        if name == "technology" and not isinstance(value, dict):
            value = {"value": value, "unit": si_unit(leaf), "source": SET_SOURCE}
        section[leaf] = value
        _forget(document, (name, leaf))
        document.entries[name, leaf] = entry


def _set_top(document: Document, name: str, value: Any, entry: Entry) -> None:
    _forget(document, (name,))
    document.data[name] = {"base": value} if name == "technology" else value
    document.entries[name,] = entry


def _forget(document: Document, path: KeyPath) -> None:
    for old in [old for old in document.entries if old[: len(path)] == path]:
        del document.entries[old]


def _settings(overrides: Overrides, faults: list[Fault]) -> dict[str, tuple[Option, Any]]:
    """Key -> (option as shown, value)."""
    if isinstance(overrides, Mapping):
        return {key: (Option(f"{key}={value}"), _plain(value)) for key, value in overrides.items()}
    settings = {}
    for text in [overrides] if isinstance(overrides, str) else overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            message = "must look like KEY=VALUE, for example adc.bits=5"
            faults.append(Fault(Option(text), "", message))
            continue
        option = Option(text)
        try:
            settings[key.strip()] = option, parse_scalar(value)
        except ValueError as error:
            faults.append(Fault(option, "", str(error)))
    return settings


def _plain(value: Any) -> Any:
    """A scalar of numpy (or of a library like it) as the Python number that it holds."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def _unknown_key(key: str, known: Sequence[str]) -> str:
    models = sections()
    if key in models:
        return f"a section, not a key; its keys are {', '.join(models[key].model_fields)}"
    same_leaf = [other for other in known if other.rpartition(".")[2] == key.rpartition(".")[2]]
    near = close_match(key, known)
    meant = " or ".join(same_leaf) or near
    return f"unknown key; did you mean {meant}?" if meant else "unknown key"


def unknown_in_section(section: str, key: str) -> str:
    """Message for an unknown key of a file's section."""
    known = sections()[section].model_fields
    near = close_match(key, known)
    if near:
        return f"unknown key; did you mean {near}?"
    elsewhere = [other for other in known_keys() if other.endswith(f".{key}")]
    if elsewhere:
        return f"unknown key; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; {section} has {', '.join(known)}"


def unknown_at_top(key: str) -> str:
    """Message for an unknown key at the top level of a file."""
    known = known_keys()
    section, _, leaf = key.partition(".")
    if key in known:
        return f"unknown key; write {leaf} below {section}:"
    near = near_top_key(key)
    elsewhere = [near] if near else [other for other in known if other.endswith(f".{key}")]
    if elsewhere:
        return f"unknown key; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; allowed are {', '.join(_top_keys())}"


def near_top_key(key: str) -> str | None:
    """The key of the top level that was probably meant."""
    return close_match(key, _top_keys())


def _top_keys() -> list[str]:
    return ["format", *Heading.model_fields, "extends", "technology", *sections()]
