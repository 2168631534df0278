"""YAML 1.2 with the position of every key and value, on top of PyYAML.

PyYAML reads YAML 1.1: ``20e3`` is text there, ``on`` is a truth value, ``64:1`` is 3841, and of two
equal keys the last one wins. Here scalars follow the core schema of YAML 1.2, and equal keys are a
fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from imcsim.config.faults import Fault, Origin, Place, UnreadableError

KeyPath = tuple[str | int, ...]
"""Keys (str) and list indices (int) from the top of a document."""

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
"""Largest number of values, aliases written out: ten lines of them can stand for a billion."""
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"
# YAML 1.2.2, section 10.3.2 (core schema): tag, what matches, possible first characters.
_CORE_SCHEMA = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), list("-+0123456789")),
    (
        "float",
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+.0123456789"),
    ),
)


@dataclass(frozen=True)
class Entry:
    """Where one value was said."""

    key: Origin
    """Its key; the value itself for list items and the whole document."""
    value: Origin
    text: str | None
    """A scalar as it was written, None for mappings and lists."""

    @property
    def origin(self) -> Origin:
        """The place to show: a scalar itself, but the key in front of a mapping or list."""
        return self.value if self.text else self.key


@dataclass
class Document:
    """One YAML file: the plain data and where each part of it stands."""

    file: str
    data: dict[str, Any]
    entries: dict[KeyPath, Entry]
    faults: list[Fault] = field(default_factory=list)
    """Equal keys, keys that are not text, unknown tags: faults that leave the rest readable."""

    def entry(self, path: KeyPath) -> Entry:
        """Entry of `path`, or of the nearest thing around it that was said."""
        while path not in self.entries:
            path = path[:-1]
        return self.entries[path]


def read_document(path: str | Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    UnreadableError
        The file is missing, empty, too large, not UTF-8, not YAML, no mapping or several documents.
    """
    file = str(path)
    text = _read_text(file)
    try:
        node = _compose(text)
    except yaml.reader.ReaderError as error:
        place = _place_of_index(file, text, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise UnreadableError(
            Fault(place, "", f"character U+{code:04X} is not allowed in YAML")
        ) from None
    except yaml.MarkedYAMLError as error:
        raise UnreadableError(_syntax_fault(file, error)) from None
    if node is None:
        raise UnreadableError(
            Fault(Place(file), "", "is empty; a YAML mapping (key: value) is wanted")
        )
    builder = _Builder(file)
    data = builder.build(node, (), None)
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        message = f"the top level must be a mapping (key: value), not {kind}"
        raise UnreadableError(Fault(_place(file, node.start_mark), "", message))
    return Document(file, data, builder.entries, builder.faults)


def parse_scalar(text: str) -> Any:
    """Value of `text` as a plain YAML 1.2 scalar; quotes around it make it text."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    tag = next((tag for tag, pattern, _ in _CORE_SCHEMA if pattern.fullmatch(text)), "str")
    return _convert(tag, text)


def parse_value(text: str) -> Any:
    """Plain value of YAML text such as ``[{model: read_noise, sigma: 0.01}]``.

    Raises
    ------
    ValueError
        With what is wrong, in words.
    """
    try:
        node = _compose(text)
        if node is None:
            return None
        builder = _Builder("")
        value = builder.build(node, (), None)
    except yaml.reader.ReaderError:
        raise ValueError("a character that is not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(_syntax_fault("", error).message) from None
    except UnreadableError as error:
        raise ValueError(error.fault.message) from None
    if builder.faults:
        fault = builder.faults[0]
        message = fault.message.partition(";")[0]  # positions in an option help nobody
        raise ValueError(f"{fault.key}: {message}" if fault.key else message)
    return value


def dump_document(data: dict[str, Any]) -> str:
    """Write plain data as YAML text that readers of YAML 1.1 and 1.2 read back equal."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _LimitError(yaml.MarkedYAMLError):
    """YAML, but more of it than anybody writes."""


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2, and limits on size and depth."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def __init__(self, stream: str):
        super().__init__(stream)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"nested more than {MAX_DEPTH} levels deep")
        if self._nodes > MAX_NODES:
            raise self._refusal(f"more than {MAX_NODES} keys and values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refusal(self, problem: str) -> _LimitError:
        return _LimitError(None, None, problem, self.peek_event().start_mark)  # type: ignore[no-untyped-call]


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 takes for something else; repeats instead of aliasing."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _CORE_SCHEMA:
    _whole = re.compile(f"(?:{_pattern.pattern})\\Z")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _whole, _first)
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<\Z"), ["<"])


class _Builder:
    """Turns nodes into plain data, notes their positions and collects faults."""

    def __init__(self, file: str):
        self.file = file
        self.entries: dict[KeyPath, Entry] = {}
        self.faults: list[Fault] = []

    def build(self, node: yaml.Node, path: KeyPath, key: yaml.Node | None) -> Any:
        if len(self.entries) >= MAX_NODES or len(path) > MAX_DEPTH:
            message = "aliases stand for too many values, or for themselves"
            raise UnreadableError(Fault(_place(self.file, node.start_mark), "", message))
        place = _place(self.file, node.start_mark)
        key_place = place if key is None else _place(self.file, key.start_mark)
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        self.entries[path] = Entry(key_place, place, text)
        if isinstance(node, yaml.MappingNode):
            return {
                k.value: self.build(v, (*path, k.value), k)
                for k, v in self._merged_pairs(node, path, 0)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self.build(v, (*path, i), None) for i, v in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        tag = str(node.tag).removeprefix(_TAG)
        if tag == "merge":  # a plain << that is no key
            tag = "str"
        try:
            return _convert(tag, node.value)
        except ValueError as error:
            self._fault(node, path, str(error))
            return None

    def _merged_pairs(
        self, node: yaml.MappingNode, path: KeyPath, depth: int
    ) -> list[tuple[yaml.Node, yaml.Node]]:
        """Keys and values of a mapping: its own, then those of ``<<`` that it does not have."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merges: list[yaml.Node] = []
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not self._is_usable(key, path, seen):
                continue
            if key.tag == _TAG + "merge":
                merges.append(value)
            else:
                pairs[key.value] = (key, value)
        for merged in self._merged_mappings(merges, path, depth):
            for key, value in self._merged_pairs(merged, path, depth + 1):
                pairs.setdefault(key.value, (key, value))
        return list(pairs.values())

    def _is_usable(self, key: yaml.Node, path: KeyPath, seen: dict[str, yaml.Node]) -> bool:
        if not isinstance(key, yaml.ScalarNode):
            self._fault(key, path, "a key must be a word, not a mapping or list")
            return False
        if key.tag not in (_TAG + "str", _TAG + "merge"):
            self._fault(key, path, f"a key must be text (got {key.value}); put it in quotes")
            return False
        if key.value in seen:
            first = seen[key.value].start_mark
            message = f"duplicate key; first at {_place(self.file, first)}"
            self._fault(key, (*path, key.value), message)
            return False
        seen[key.value] = key
        return True

    def _merged_mappings(
        self, nodes: list[yaml.Node], path: KeyPath, depth: int
    ) -> Iterator[yaml.MappingNode]:
        for node in nodes:
            for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                if isinstance(item, yaml.MappingNode) and depth < MAX_DEPTH:
                    yield item
                else:
                    self._fault(item, path, "<< must name a mapping (<<: *anchor), and not itself")

    def _fault(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        fault = Fault(_place(self.file, node.start_mark), dotted(path), message)
        if fault not in self.faults:  # an anchor is visited once per alias
            self.faults.append(fault)


def dotted(path: KeyPath) -> str:
    """Write a key path as messages show it: ``stages[1].epochs``."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(steps).removeprefix(".")


def option_key(path: KeyPath) -> str:
    """Write a key path as ``--set`` takes it: ``stages.1.epochs``, which no shell expands."""
    return ".".join(str(part) for part in path)


def _convert(tag: str, text: str) -> Any:
    """Plain value of a scalar; ValueError says in words why there is none."""
    if tag == "str":
        return text
    pattern = next((pattern for name, pattern, _ in _CORE_SCHEMA if name == tag), None)
    if pattern is None:
        raise ValueError(f"the tag {tag} is not supported")
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is no {tag}")
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "float":
        return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)
    if len(text) > 100:
        raise ValueError("a whole number with more than 100 digits")
    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _read_text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableError(Fault(Place(file), "", "no such file")) from None
    except IsADirectoryError:
        raise UnreadableError(Fault(Place(file), "", "is a directory, not a file")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableError(Fault(Place(file), "", f"cannot be read: {reason}")) from None
    if len(content) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES} bytes"
        raise UnreadableError(Fault(Place(file), "", message))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        place = _place_of_index(file, before, len(before))
        message = f"not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise UnreadableError(Fault(place, "", message)) from None


def _syntax_fault(file: str, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    place = Place(file) if mark is None else _place(file, mark)
    problem = error.problem or error.context or "cannot be read"
    if r"'\t'" in problem:
        return Fault(place, "", "a tab; YAML is indented with spaces")
    if isinstance(error, _LimitError):
        return Fault(place, "", problem)
    if error.context == "expected a single document in the stream":
        return Fault(place, "", "a second document begins here (---); one is allowed")
    context = f" ({error.context})" if error.context and error.problem else ""
    return Fault(place, "", f"not valid YAML: {problem}{context}")


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _place_of_index(file: str, text: str, index: int) -> Place:
    before = text[:index]
    return Place(file, before.count("\n") + 1, index - before.rfind("\n"))
