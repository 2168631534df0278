"""Physical quantities for people: SI values with a prefix. Files and JSON always hold raw SI
numbers."""

from __future__ import annotations

import math

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m",
    0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P",
}  # fmt: skip


def eng(value: float, unit: str, digits: int = 4) -> str:
    """Write `value` with an SI prefix and `digits` significant digits.

    Square metres are written in mm² (a chip's size), since a prefix on a squared unit misleads.
    Values beyond the prefixes keep their power of ten.

    >>> eng(3.2e-8, "m")
    '32.00 nm'
    >>> eng(6.017e-5, "m2")
    '60.17 mm²'
    """
    if unit == "m2":
        return f"{_plain(value * 1e6, digits)} mm²"
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g} {unit}"
    # Rounded first: 999.96e-9 is 1.000 µ, not 1000 n.
    exponent = 3 * (_rounded_exponent(value, digits) // 3)
    if exponent not in _PREFIXES:
        return f"{value:.{digits - 1}e} {unit}"
    return f"{_plain(value / 10.0**exponent, digits)} {_PREFIXES[exponent]}{unit}"


def _plain(value: float, digits: int) -> str:
    """At least `digits` significant digits, zeros at the end kept; an exponent only if tiny."""
    if value == 0 or not math.isfinite(value):
        return f"{value + 0.0:g}"
    exponent = _rounded_exponent(value, digits)
    if exponent < -6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def _rounded_exponent(value: float, digits: int) -> int:
    """Power of ten of the first digit, after rounding to `digits` significant digits."""
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
