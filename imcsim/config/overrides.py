"""``--set KEY=VALUE``: options that replace values of a file before anything is checked."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from imcsim.config.faults import Fault, Option
from imcsim.config.layout import Layout
from imcsim.config.messages import got
from imcsim.config.yaml_positions import (
    Document,
    Entry,
    KeyPath,
    option_key,
    parse_scalar,
    parse_value,
)

Overrides = Mapping[str, Any] | Sequence[str]
"""``{"adc.bits": 5}``, or ``["adc.bits=5"]`` with YAML 1.2 scalars as on the command line."""


def _as_given(path: KeyPath, value: Any) -> Any:
    return value


def apply_overrides(
    document: Document,
    layout: Layout,
    overrides: Overrides,
    faults: list[Fault],
    spell_out: Callable[[KeyPath, Any], Any] = _as_given,
) -> None:
    """Put options into `document`, in place; the last one of a key counts.

    Parameters
    ----------
    overrides : mapping or sequence of str
        An entry of a list is named by its number from 0: ``stages.1.epochs`` or
        ``stages[1].epochs``. A list of values is written ``network.channels=[64, pool]``, one of
        sections ``device.nonidealities=[{model: read_noise, sigma: 0.01}]``.
    faults : list
        Takes what is wrong with the options themselves.
    spell_out : callable, optional
        Turns the value of an option into what a file would hold at that key.
    """
    settings = _settings(overrides, layout.example, faults)
    # What an option replaces as a whole goes in before its single values.
    for key in sorted(settings, key=lambda key: (key not in layout.extra, _entry_number(key))):
        option, value = settings[key]
        known = {option_key(path): path for path in layout.paths(document.data)}
        path = known.get(key)
        if path is None:
            faults.append(Fault(option, "", layout.unknown_option(key, document.data)))
            continue
        entry = Entry(option, option, got(value, None))
        try:
            if isinstance(value, str) and layout.takes_sections(path, document.data):
                value = parse_value(value)
            elif isinstance(value, str) and layout.takes_list(path, document.data):
                value = _items(value)
        except ValueError as error:
            faults.append(Fault(option, "", str(error)))
        else:
            _put(document, path, spell_out(path, value), entry)


def _put(document: Document, path: KeyPath, value: Any, entry: Entry) -> None:
    holder: Any = document.data
    for step, below in pairwise(path):
        inner = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
        if not isinstance(inner, list if isinstance(below, int) else dict):
            return  # the file is at fault there, and that is reported
        holder[step] = copy.copy(inner)
        holder = holder[step]
    holder[path[-1]] = value
    for old in [old for old in document.entries if old[: len(path)] == path]:
        del document.entries[old]
    document.entries[path] = entry


def _settings(
    overrides: Overrides, example: str, faults: list[Fault]
) -> dict[str, tuple[Option, Any]]:
    """Key -> (option as shown, value)."""
    if isinstance(overrides, Mapping):
        return {
            _with_dots(key): (Option(f"{key}={value}"), _plain(value))
            for key, value in overrides.items()
        }
    settings = {}
    for text in [overrides] if isinstance(overrides, str) else overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            message = f"must look like KEY=VALUE, for example {example}"
            faults.append(Fault(Option(text), "", message))
            continue
        option = Option(text)
        try:
            settings[_with_dots(key.strip())] = option, parse_scalar(value)
        except ValueError as error:
            faults.append(Fault(option, "", str(error)))
    return settings


def _entry_number(key: str) -> bool:
    """Whether a key names an entry of a list."""
    return any(step.isdecimal() for step in key.split("."))


def _items(text: str) -> list[Any]:
    """Values of a list of scalars, ``[64, pool]`` or ``64,pool``."""
    inner = text.removeprefix("[").removesuffix("]")
    return [parse_scalar(item) for item in inner.split(",")] if inner.strip() else []


def _with_dots(key: str) -> str:
    """``stages.1.epochs`` of ``stages[1].epochs``."""
    return re.sub(r"\[([0-9]+)\]", r".\1", key)


def _plain(value: Any) -> Any:
    """A scalar of numpy (or of a library like it) as the Python number that it holds."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value
