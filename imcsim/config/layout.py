"""Which keys a kind of file has, and what to say about a key that it does not have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from imcsim.config.messages import close_match, item_of
from imcsim.config.yaml_positions import KeyPath, dotted, option_key


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def content_hash(model: BaseModel) -> str:
    """SHA-256 of the values, in hexadecimal: equal however a file spells the numbers."""
    text = json.dumps(model.model_dump(mode="json"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Variants:
    """Entries of a list within a section that are sections themselves, of several classes."""

    key: str
    """Names the class of an entry."""
    classes: Mapping[str, type[Section]]

    def class_of(self, entry: Any) -> type[Section] | None:
        """The class that an entry of a file names, None if it names none."""
        word = entry.get(self.key) if isinstance(entry, dict) else None
        return self.classes.get(word) if isinstance(word, str) else None


def variants_of(field: FieldInfo) -> Variants | None:
    """What a tuple of sections told apart by a key may hold; None for any other field."""
    item = item_of(field)
    if item is None or not isinstance(item.discriminator, str):
        return None
    classes = {
        word: section
        for section in get_args(item.annotation)
        for word in get_args(section.model_fields[item.discriminator].annotation)
    }
    return Variants(item.discriminator, MappingProxyType(classes))


@dataclass(frozen=True)
class Layout:
    """The keys of one kind of file: values at the top, sections, and lists of sections."""

    model: type[Section]
    """What a file is read into; a field is a section, a tuple of sections, or one of the rest."""
    heading: type[Section]
    """The values at the top, as a base of `model`."""
    example: str
    """An option, ``KEY=VALUE``, for messages."""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Keys of the top that the reader of this kind of file checks itself, with those below them."""
    file_only: Sequence[str] = ()
    """Further keys of the top that no option can set."""

    @property
    def sections(self) -> dict[str, type[Section]]:
        """Name and class of every section, in order."""
        return self._sections(lambda annotation: annotation)

    @property
    def lists(self) -> dict[str, type[Section]]:
        """Name of every list of sections and class of its entries, in order."""
        return self._sections(
            lambda annotation: get_args(annotation)[0] if get_origin(annotation) is tuple else None
        )

    def _sections(self, class_of: Callable[[Any], Any]) -> dict[str, type[Section]]:
        fields = self.model.model_fields.items()
        found = {name: class_of(info.annotation) for name, info in fields}
        return {
            name: model
            for name, model in found.items()
            if isinstance(model, type) and issubclass(model, Section)
        }

    @property
    def top_keys(self) -> list[str]:
        """What may stand at the top of a file."""
        below = self.sections | self.lists
        parts = [name for name in self.model.model_fields if name in below]
        return ["format", *self.heading.model_fields, *self.file_only, *self.extra, *parts]

    def paths(self, data: Mapping[str, Any]) -> list[KeyPath]:
        """Every key that an option can set in a file with `data`, which may have lists."""
        paths: list[KeyPath] = [(name,) for name in (*self.heading.model_fields, *self.extra)]
        paths += [
            (name, key) for name, model in self.sections.items() for key in model.model_fields
        ]
        for name, model in self.lists.items():
            entries = range(_length(data.get(name)))
            paths += [(name, i, key) for i in entries for key in model.model_fields]
        for (name, key), kinds in self._variants.items():
            for i, entry in enumerate(_entries(data, name, key)):
                section = kinds.class_of(entry)
                below = [kinds.key] if section is None else section.model_fields
                paths += [(name, key, i, leaf) for leaf in below]
        return paths + [(name, key) for name, below in self.extra.items() for key in below]

    def takes_list(self, path: KeyPath, data: Mapping[str, Any]) -> bool:
        """Whether the value at `path`, one of `paths` of a file with `data`, is a list."""
        info = self._field(path, data)
        return info is not None and item_of(info) is not None

    def takes_sections(self, path: KeyPath, data: Mapping[str, Any]) -> bool:
        """Whether the value at `path`, one of `paths` of a file with `data`, is a list of
        sections."""
        info = self._field(path, data)
        return info is not None and variants_of(info) is not None

    def _field(self, path: KeyPath, data: Mapping[str, Any]) -> FieldInfo | None:
        name, key = path[0], path[-1]
        model = self.heading if len(path) == 1 else (self.sections | self.lists).get(str(name))
        if len(path) == 4:
            entries = _entries(data, str(name), str(path[1]))
            model = self._variants[str(name), str(path[1])].class_of(entries[int(path[2])])
        return None if model is None else model.model_fields.get(str(key))

    @property
    def _variants(self) -> dict[tuple[str, str], Variants]:
        """Lists of sections within sections, by the two keys that lead to them."""
        fields = {
            (name, key): info
            for name, model in self.sections.items()
            for key, info in model.model_fields.items()
        }
        found = {path: variants_of(info) for path, info in fields.items()}
        return {path: kinds for path, kinds in found.items() if kinds is not None}

    def near_top_key(self, key: str) -> str | None:
        """The key of the top that was probably meant."""
        return close_match(key, self.top_keys)

    def unknown_at_top(self, key: str, data: Mapping[str, Any]) -> str:
        """Message for an unknown key at the top of a file."""
        path = next((path for path in self.paths(data) if option_key(path) == key), None)
        if path is not None:
            return f"unknown key; write {path[-1]} below {dotted(path[:-1])}:"
        near = self.near_top_key(key)
        meant = near or " or ".join(map(dotted, self._elsewhere(key, data)))
        if meant:
            return f"unknown key; did you mean {meant}?"
        return f"unknown key; allowed are {', '.join(self.top_keys)}"

    def unknown_in_section(
        self, path: KeyPath, model: type[Section], data: Mapping[str, Any]
    ) -> str:
        """Message for the unknown key at the end of `path`, in a section of class `model`."""
        *section, key = path
        elsewhere = " or ".join(map(dotted, self._elsewhere(str(key), data)))
        meant = elsewhere or close_match(str(key), model.model_fields)
        if meant:
            return f"unknown key; did you mean {meant}?"
        return f"unknown key; {dotted(tuple(section))} has {', '.join(model.model_fields)}"

    def unknown_option(self, key: str, data: Mapping[str, Any]) -> str:
        """Message for an option that sets no key."""
        if key in self.sections:
            names = ", ".join(self.sections[key].model_fields)
            return f"a section, not a key; its keys are {names}"
        message = self._unknown_variant(key, data) or self._unknown_entry(key, data)
        if message:
            return message
        leaf = key.rpartition(".")[2]
        paths = self.paths(data)
        same_leaf = [option_key(path) for path in paths if path[-1] == leaf and _is_first(path)]
        meant = " or ".join(same_leaf) or close_match(key, map(option_key, paths))
        return f"unknown key; did you mean {meant}?" if meant else "unknown key"

    def _unknown_entry(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Message for an option that names a list, or an entry that its list does not have."""
        name, _, rest = key.partition(".")
        index, _, leaf = rest.partition(".")
        if name not in self.lists:
            return None
        length = _length(data.get(name))
        if index.isdecimal() and int(index[:9]) >= length:
            return _no_entry(name, index, length)
        if leaf or not (index.isdecimal() or not index):
            return None
        names = ", ".join(self.lists[name].model_fields)
        entry = f"{name}.{index or 0}"
        return f"not a key; the keys of {entry} are {names} ({entry}.{names.partition(',')[0]}=...)"

    def _unknown_variant(self, key: str, data: Mapping[str, Any]) -> str | None:
        """Message for an option that names an entry that a list within a section does not have."""
        for path in self._variants:
            name = option_key(path)
            index = key.removeprefix(f"{name}.").partition(".")[0]
            length = len(_entries(data, *path))
            if key.startswith(f"{name}.") and index.isdecimal() and int(index[:9]) >= length:
                return _no_entry(name, index, length)
        return None

    def _elsewhere(self, key: str, data: Mapping[str, Any]) -> list[KeyPath]:
        """Sections that have the key; of a list, its first entry stands for all."""
        paths = [path for path in self.paths(data) if len(path) > 1 and _is_first(path)]
        return [path for path in paths if path[-1] == key]


def _length(entries: Any) -> int:
    return len(entries) if isinstance(entries, list) else 0


def _entries(data: Mapping[str, Any], name: str, key: str) -> list[Any]:
    section = data.get(name)
    entries = section.get(key) if isinstance(section, dict) else None
    return entries if isinstance(entries, list) else []


def _no_entry(name: str, index: str, length: int) -> str:
    last = f"; the last is {name}.{length - 1}" if length else ""
    return f"there is no {name}.{index}{last}"


def _is_first(path: KeyPath) -> bool:
    return all(part == 0 for part in path if isinstance(part, int))
