"""Architecture files to `Chip`; faults of all files and ``--set`` options are found in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from imcsim.chip.faults import Fault, Option, UnreadableError, raise_faults
from imcsim.chip.layers import (
    Overrides,
    apply_overrides,
    near_top_key,
    read_layers,
    sections,
    unknown_at_top,
    unknown_in_section,
)
from imcsim.chip.messages import allowed, close_match, got, wrong_value
from imcsim.chip.schema import Chip, Conflict, Heading, Section, conflicts
from imcsim.chip.technology.table import overlay_technology
from imcsim.chip.yaml_positions import Document, KeyPath, dotted

S = TypeVar("S", bound=Section)


def load_chip(path: str | Path, overrides: Overrides = ()) -> Chip:
    """Read, complete and check an architecture file.

    Parameters
    ----------
    path : str or Path
        YAML file that begins with ``format: imcsim-arch/1``; shown in messages as it is given here.
    overrides : mapping or sequence of str, optional
        ``{"adc.bits": 5}`` or ``["adc.bits=5"]``; put in before anything is checked.
        A technology value (``technology.adder_bit_j=3e-15``) is in SI units.

    Raises
    ------
    ArchError
        With one line per fault: ``file:line:column: key: what is wrong, what is allowed``.
    UsageError
        If only the overrides are at fault.
    """
    faults: list[Fault] = []
    try:
        document = read_layers(path, faults)
    except UnreadableError as error:
        raise_faults([*faults, error.fault])
    apply_overrides(document, overrides, faults)
    chip = _build(document, faults)
    if chip is None or faults:
        raise_faults(faults)
    return chip


def _build(document: Document, faults: list[Fault]) -> Chip | None:
    models = sections()
    data = document.data
    known = {*models, *Heading.model_fields, "technology"}
    faults.extend(
        Fault(document.entry((name,)).key, name, unknown_at_top(name))
        for name in data
        if name not in known
    )
    heading = {name: data[name] for name in Heading.model_fields if name in data}
    head = _validate(Heading, heading, (), document, faults)
    built: dict[str, Any] = {
        name: _section(name, model, document, faults) for name, model in models.items()
    }
    built["technology"] = overlay_technology(document, faults)
    faults.extend(_blame(conflict, document) for conflict in conflicts(built))
    if faults or head is None:
        return None
    return Chip.model_validate({**vars(head), **built})


def _blame(conflict: Conflict, document: Document) -> Fault:
    """Lay a conflict at the first key's place, or at the option that brought it about."""
    key = dotted(conflict.keys[0])
    origins = [document.entry(keys).origin for keys in conflict.keys]
    if isinstance(origins[0], Option):
        return Fault(origins[0], key, conflict.message)
    option = next((origin for origin in origins if isinstance(origin, Option)), None)
    if option is not None:
        return Fault(option, key, f"{key} then {conflict.message}")
    return Fault(origins[0], key, conflict.message)


def _section(name: str, model: type[S], document: Document, faults: list[Fault]) -> S | None:
    if name not in document.data:
        if name not in map(near_top_key, document.data):  # else the misspelt key is reported
            message = f"missing section with {', '.join(model.model_fields)}"
            faults.append(Fault(document.entry(()).key, name, message))
        return None
    data = document.data[name]
    if isinstance(data, dict):
        return _validate(model, data, (name,), document, faults)
    entry = document.entry((name,))
    message = (
        f"must be a section with {', '.join(model.model_fields)} (got {got(data, entry.text)})"
    )
    faults.append(Fault(entry.key, name, message))
    return None


def _validate(
    model: type[S], data: Mapping[str, Any], path: KeyPath, document: Document, faults: list[Fault]
) -> S | None:
    """Check one section with pydantic, which finds the keys at fault; the words are ours."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = {str(detail["loc"][0]): detail["type"] for detail in error.errors()}
    fields = model.model_fields
    unknown = [key for key, kind in found.items() if kind == "extra_forbidden"]
    meant = {close_match(key, fields) for key in unknown}
    if not path:
        meant |= set(map(near_top_key, document.data))
    for key, kind in found.items():
        where = (*path, key)
        entry = document.entry(where)
        if kind == "extra_forbidden":
            message = unknown_in_section(str(path[0]), key)
            faults.append(Fault(entry.key, dotted(where), message))
        elif kind == "missing":
            if key not in meant:  # the misspelt key is already reported
                message = f"missing; wanted is {allowed(key, fields[key])}"
                faults.append(Fault(document.entry(path).key, dotted(where), message))
        else:
            message = wrong_value(key, fields[key], data[key], entry.text)
            faults.append(Fault(entry.origin, dotted(where), message))
    return None
