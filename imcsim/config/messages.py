"""The words of fault messages: what a key allows, what was meant, what to write instead."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

# Suffix of a key -> (unit as shown, spellings a user may have typed behind a number).
_KEY_UNITS = {
    "_hz": ("Hz", ("hz",)),
    "_s": ("s", ("s", "sec")),
    "_v": ("V", ("v", "volt")),
    "_ohm": ("Ω", ("ohm", "ohms", "ω")),
    "_bytes": ("bytes", ("b", "byte", "bytes")),
    "_bits": ("bits", ("b", "bit", "bits")),
    "_cycles": ("cycles", ("cycle", "cycles")),
}
_PREFIX_EXPONENTS = {"p": -12, "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "K": 3, "M": 6, "G": 9}
_BYTE_POWERS = {"": 0, "k": 1, "K": 1, "Ki": 1, "M": 2, "Mi": 2, "G": 3, "Gi": 3}
# What YAML 1.1 took for truth values; in YAML 1.2 these are text.
_TRUTH_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_QUANTITY = re.compile(r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([^\s\d]*)\s*")


def close_match(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant; a difference of case alone goes first (pJ for PJ)."""
    choices = list(choices)
    same = [choice for choice in choices if choice.casefold() == word.casefold()]
    near = same or difflib.get_close_matches(word, choices, n=1)
    return near[0] if near else None


def did_you_mean(word: Any, choices: Iterable[str]) -> str:
    """``"; did you mean X?"``, or nothing if no choice is near."""
    match = close_match(word, choices) if isinstance(word, str) else None
    return f"; did you mean {match}?" if match else ""


def has_control(text: str) -> bool:
    """Whether a terminal would act on `text`; line breaks and tabs are harmless."""
    return any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in text)


def plain_text(text: str) -> str:
    """`text` itself; ValueError if it has control characters."""
    if has_control(text):
        raise ValueError("control characters")
    return text


def unit_of(key: str) -> str:
    """Unit that the suffix of a key names, ``""`` if it has none."""
    return next((shown for suffix, (shown, _) in _KEY_UNITS.items() if key.endswith(suffix)), "")


def wrong_value(key: str, field: FieldInfo, value: Any, text: str | None) -> str:
    """Message for a value that `field` does not allow; `text` is the value as written."""
    if field.annotation is str and isinstance(value, str) and value:
        most = limit_of(field, "max_length")
        if most is not None and len(value) > most:
            return f"must be text of at most {most} characters (got {len(value)})"
        return f"must be text without control characters (got {got(value, text)})"
    ways_out = (_way_out(key, part, value) for part in _alternatives(field))
    way_out = next(filter(None, ways_out), "")
    return f"must be {allowed(key, field)} (got {got(value, text)}){way_out}"


def allowed(key: str, field: FieldInfo) -> str:
    """What a key takes, in words: ``a number in Ω above 0``."""
    alternatives = _alternatives(field)
    if alternatives != [field]:
        return " or ".join(allowed(key, part) for part in alternatives)
    item = item_of(field)
    if item is not None:
        return f"a list, each entry {allowed(key, item)}"
    words = _words_of(field)
    if words:
        return words[0] if len(words) == 1 else "one of " + ", ".join(words)
    if field.annotation is str:
        return "text"
    if field.annotation is bool:
        return "true or false"
    kind = "a whole number" if field.annotation is int else "a number"
    unit = unit_of(key)
    joint = " of " if unit in ("bytes", "bits", "cycles") else " in "
    return kind + (joint + unit if unit else "") + _range(field)


def got(value: Any, text: str | None) -> str:
    """A value as a user recognises it, cut if it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    shown = repr(value) if isinstance(value, str) or text is None else text
    return shown if len(shown) <= 60 else shown[:57] + "..."


def number_text(value: float) -> str:
    """Shortest spelling of a number: ``1e11``, not ``1e+11``."""
    if isinstance(value, int):
        return str(value)
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:g}")


def item_of(field: FieldInfo) -> FieldInfo | None:
    """What each entry of a list may be; None if `field` takes no list."""
    for part in _alternatives(field):
        if get_origin(part.annotation) is tuple:
            return FieldInfo.from_annotation(get_args(part.annotation)[0])
    return None


def limit_of(field: FieldInfo, name: str) -> Any:
    """A limit such as ``ge`` or ``max_length`` of a field, None if it has none."""
    limits = (getattr(limit, name, None) for limit in field.metadata)
    return next((limit for limit in limits if limit is not None), None)


def _alternatives(field: FieldInfo) -> list[FieldInfo]:
    """The types that a field may have; nothing (None) needs no words."""
    if get_origin(field.annotation) not in (Union, UnionType):
        return [field]
    parts = [part for part in get_args(field.annotation) if part is not NoneType]
    found = [FieldInfo.from_annotation(part) for part in parts]
    if len(found) == 1:  # limits of the field are those of its one type
        found[0].metadata = [*found[0].metadata, *field.metadata]
    return found


def _words_of(field: FieldInfo) -> list[str]:
    if get_origin(field.annotation) is Literal:
        return [str(word) for word in get_args(field.annotation)]
    return []


def _range(field: FieldInfo) -> str:
    limits = {name: limit_of(field, name) for name in ("ge", "gt", "le", "lt")}
    bounds = {name: number_text(limit) for name, limit in limits.items() if limit is not None}
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    parts = [f"{words[name]} {bound}" for name, bound in bounds.items()]
    return " " + " and ".join(parts) if parts else ""


def _way_out(key: str, field: FieldInfo, value: Any) -> str:
    words = _words_of(field)
    if words:
        return did_you_mean(value, words)
    if field.annotation is str:
        simple = isinstance(value, int | float)
        return "; put it in quotes" if simple else ""
    if field.annotation is bool:
        word = _TRUTH_WORDS.get(value.casefold()) if isinstance(value, str) else None
        return f"; write {word}" if word else ""
    if isinstance(value, float) and field.annotation is int and value.is_integer():
        return f"; write {value:.0f}" if abs(value) < 1e15 else ""
    if isinstance(value, str):
        number = plain_number(key, value)
        return f"; write {number}" if number else ""
    return ""


def plain_number(key: str, text: str) -> str | None:
    """The number to write for a quantity such as ``20 kOhm``, or None if it is not clear.

    K, M and G of bytes are powers of 1024, as in Table I of Li et al. (20KB is 20480).
    """
    match = _QUANTITY.fullmatch(text.replace("_", "").replace("µ", "u").replace("μ", "u"))
    if match is None:
        return None
    number, unit = match[1], match[2]
    suffix = next((suffix for suffix in _KEY_UNITS if key.endswith(suffix)), None)
    if not unit or suffix is None:
        return None if unit else number
    prefix = _prefix(unit, _KEY_UNITS[suffix][1])
    if prefix is None:
        return None
    if suffix == "_bytes":
        power = _BYTE_POWERS.get(prefix)
        return None if power is None else f"{float(number) * 1024**power:.0f}"
    if suffix == "_hz" and prefix == "m":
        prefix = "M"  # a clock in mhz is never meant in millihertz
    exponent = _PREFIX_EXPONENTS.get(prefix)
    if not exponent:
        return None if exponent is None else number
    return None if "e" in number.lower() else f"{number}e{exponent}"


def _prefix(unit: str, spellings: tuple[str, ...]) -> str | None:
    """What stands before the unit: ``k`` of ``kOhm``; None if the unit is another one."""
    for spelling in sorted(spellings, key=len, reverse=True):
        if unit.casefold().endswith(spelling):
            return unit[: len(unit) - len(spelling)]
    return None
