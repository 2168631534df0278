"""A document against its layout: pydantic finds the keys at fault, the words are ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from imcsim.config.faults import Fault, Option
from imcsim.config.layout import Layout, Section, Variants, variants_of
from imcsim.config.messages import (
    allowed,
    close_match,
    did_you_mean,
    got,
    item_of,
    limit_of,
    wrong_value,
)
from imcsim.config.yaml_positions import Document, KeyPath, dotted

S = TypeVar("S", bound=Section)


def format_fault(document: Document, wanted: str) -> Fault | None:
    """What is wrong unless the document says ``format: <wanted>``."""
    found = document.data.get("format")
    if found == wanted:
        return None
    entry = document.entry(("format",))
    if "format" not in document.data:
        message = f"missing; write format: {wanted}"
    else:
        message = f"must be {wanted} (got {got(found, entry.text)})"
    return Fault(entry.origin, "format", message)


@dataclass(frozen=True)
class Conflict:
    """Values that are each allowed, but not together (or not all that the range has)."""

    keys: Sequence[KeyPath]
    """All values involved; the first one is blamed."""
    message: str


def blame(conflict: Conflict, document: Document) -> Fault:
    """Lay a conflict at the first key's place, or at the option that brought it about."""
    key = dotted(conflict.keys[0])
    origins = [document.entry(tuple(keys)).origin for keys in conflict.keys]
    if isinstance(origins[0], Option):
        return _fault(document, conflict.keys[0], conflict.message)
    option = next((origin for origin in origins if isinstance(origin, Option)), None)
    if option is not None:
        return Fault(option, key, f"{key} then {conflict.message}")
    return Fault(origins[0], key, conflict.message)


def _fault(document: Document, path: KeyPath, message: str, of_key: bool = False) -> Fault:
    """Lay a fault at what `path` says, or at its key.

    An option is shown without the key that it repeats; one that gives a whole list of sections
    does not name what is wrong in it.
    """
    entry = document.entry(path)
    origin = entry.key if of_key else entry.origin
    if isinstance(origin, Option):
        said = next(n for n in range(len(path), -1, -1) if path[:n] in document.entries)
        if any(isinstance(step, str) for step in path[said:]):
            message = f"{dotted(path)}: {message}"
    return Fault(origin, dotted(path), message)


def check_parts(document: Document, layout: Layout, faults: list[Fault]) -> dict[str, Any]:
    """Check everything but `layout.extra`; `document` has no ``format`` any more.

    Parameters
    ----------
    faults : list
        Takes what is wrong.

    Returns
    -------
    dict
        Fields of `layout.model`: the values of the heading, unless one of them is at fault,
        sections, and tuples of sections; None in the place of each section at fault.
    """
    return _Check(document, layout, faults).parts()


@dataclass(frozen=True)
class _Check:
    document: Document
    layout: Layout
    faults: list[Fault]

    def parts(self) -> dict[str, Any]:
        data, layout = self.document.data, self.layout
        known = {*layout.model.model_fields, *layout.extra}
        for name in data:
            if name not in known:
                self.fault_at_key((name,), layout.unknown_at_top(name, data))
        heading = {name: data[name] for name in layout.heading.model_fields if name in data}
        head = self.values(layout.heading, heading, ())
        parts: dict[str, Any] = {} if head is None else dict(vars(head))
        sections, lists = layout.sections, layout.lists
        for name, field in layout.model.model_fields.items():
            if name in sections:
                parts[name] = self.top_section(name, sections[name], field)
            elif name in lists:
                parts[name] = self.list_of_sections(name, lists[name], field)
        return parts

    def fault_at_key(self, path: KeyPath, message: str) -> None:
        self.faults.append(_fault(self.document, path, message, of_key=True))

    def fault(self, path: KeyPath, message: str) -> None:
        self.faults.append(_fault(self.document, path, message))

    def missing(self, name: str, message: str) -> None:
        """Report that the top has no `name`, unless a misspelt `name` is already reported."""
        if name not in map(self.layout.near_top_key, self.document.data):
            self.faults.append(Fault(self.document.entry(()).key, name, message))

    def top_section(self, name: str, model: type[S], field: FieldInfo) -> S | None:
        if name in self.document.data:
            return self.section(self.document.data[name], model, (name,))
        if field.is_required():
            self.missing(name, f"missing section with {', '.join(model.model_fields)}")
            return None
        default: S = field.get_default(call_default_factory=True)
        return default

    def list_of_sections(
        self, name: str, model: type[S], field: FieldInfo
    ) -> tuple[S | None, ...] | None:
        least, most = limit_of(field, "min_length"), limit_of(field, "max_length")
        wanted = f"a list of {least} to {most} sections with {', '.join(model.model_fields)}"
        if name not in self.document.data:
            self.missing(name, f"missing; wanted is {wanted}")
            return None
        items = self.document.data[name]
        if not isinstance(items, list):
            shown = got(items, self.document.entry((name,)).text)
            self.fault((name,), f"must be {wanted} (got {shown})")
            return None
        if not least <= len(items) <= most:
            self.fault((name,), f"must be {wanted} (got {len(items)})")
        return tuple(self.section(item, model, (name, i)) for i, item in enumerate(items))

    def section(self, data: Any, model: type[S], path: KeyPath) -> S | None:
        if isinstance(data, dict):
            return self.values(model, data, path)
        names = ", ".join(model.model_fields)
        shown = got(data, self.document.entry(path).text)
        self.fault_at_key(path, f"must be a section with {names} (got {shown})")
        return None

    def values(self, model: type[S], data: Mapping[str, Any], path: KeyPath) -> S | None:
        """Check the values of one section, at `path` (the heading: at the top)."""
        fields = model.model_fields
        faults_before = len(self.faults)
        found = _problems(model, self.with_variants(model, data, path))
        if not isinstance(found, dict):
            return found if len(self.faults) == faults_before else None
        unknown = [str(at[0]) for at, (kind, _) in found.items() if kind == "extra_forbidden"]
        meant = {close_match(key, fields) for key in unknown}
        if not path:
            meant |= set(map(self.layout.near_top_key, self.document.data))
        for at, (kind, words) in found.items():
            where, key = (*path, *at), str(at[0])
            if kind == "extra_forbidden":
                top = self.document.data
                self.fault_at_key(where, self.layout.unknown_in_section(where, model, top))
            elif kind == "unfit":
                self.fault(where, words)
            elif kind != "missing":
                self.wrong_value(fields[key], where, data[key], at)
            elif key not in meant:  # else the misspelt key is already reported
                self.fault_at_key(where, f"missing; wanted is {allowed(key, fields[key])}")
        return None

    def with_variants(
        self, model: type[Section], data: Mapping[str, Any], path: KeyPath
    ) -> dict[str, Any]:
        """`data` with the sections in its lists checked, each by its own class; those at fault are
        left out."""
        values = dict(data)
        for key in set(data) & set(model.model_fields):
            kinds = variants_of(model.model_fields[key])
            if kinds is None:
                continue
            if isinstance(data[key], list):
                entries = enumerate(data[key])
                checked = [self.variant(entry, kinds, (*path, key, i)) for i, entry in entries]
                values[key] = tuple(entry for entry in checked if entry is not None)
                continue
            shown = got(data[key], self.document.entry((*path, key)).text)
            self.fault(
                (*path, key), f"must be a list of sections, each with {kinds.key} (got {shown})"
            )
            del values[key]
        return values

    def variant(self, data: Any, kinds: Variants, path: KeyPath) -> Section | None:
        """Check a section that names its class."""
        words = f"one of {', '.join(kinds.classes)}"
        section = kinds.class_of(data)
        if section is not None:
            return self.values(section, data, path)
        if not isinstance(data, dict):
            shown = got(data, self.text(path))
            self.fault_at_key(path, f"must be a section with {kinds.key}, {words} (got {shown})")
        elif kinds.key in data:
            where, value = (*path, kinds.key), data[kinds.key]
            shown = got(value, self.text(where))
            way_out = did_you_mean(value, kinds.classes)
            self.fault(where, f"must be {words} (got {shown}){way_out}")
        else:
            self.fault_at_key((*path, kinds.key), f"missing; wanted is {words}")
        return None

    def wrong_value(self, field: FieldInfo, where: KeyPath, value: Any, at: KeyPath) -> None:
        """Report the value at `where`; `at` is its key and, in a list, its number there."""
        item = item_of(field)
        if len(at) > 1 and item is not None:
            field, value = item, value[at[1]]
        self.fault(where, wrong_value(str(at[0]), field, value, self.text(where)))

    def text(self, path: KeyPath) -> str | None:
        """The value at `path` as it was written; None if it came with what lies around it."""
        return self.document.entry(path).text if path in self.document.entries else None


def _problems(model: type[S], data: Mapping[str, Any]) -> S | dict[KeyPath, tuple[str, str]]:
    """The section, or for each key (or entry of its list) at fault pydantic's name of the fault and
    its words; those of a fault named `unfit` are ours."""
    fields = model.model_fields
    values = dict(data)
    for key, value in data.items():  # YAML has lists, a frozen section has tuples
        if isinstance(value, list) and key in fields and item_of(fields[key]) is not None:
            values[key] = tuple(value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = [(detail["loc"], (detail["type"], detail["msg"])) for detail in error.errors()]
    # What follows the key is the number of an entry, or names one of the types it may have.
    return {loc[: 2 if isinstance((*loc, "")[1], int) else 1]: kind for loc, kind in found}
