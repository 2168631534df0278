"""Physical quantities for people: SI values with a prefix. Files and JSON always hold raw SI
numbers."""

from __future__ import annotations

import math

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m",
    0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P",
}  # fmt: skip


def eng(value: float, unit: str, digits: int = 4) -> str:
    """Write `value` with an SI prefix and `digits` significant digits: ``eng(3.2e-8, "m") == "32.00
    nm"``.

    Square metres are written in mm² (a chip's size), since a prefix on a squared unit misleads.
    """
    if unit == "m2":
        return f"{value * 1e6:.{digits}g} mm²"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    # Rounding may carry into the next prefix: 999.96e-9 is 1.000 µ, not 1000 n.
    if float(f"{abs(value) / 10.0**exponent:.{digits}g}") >= 1000:
        exponent += 3
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    mantissa = value / 10.0**exponent
    decimals = max(digits - 1 - max(math.floor(math.log10(abs(mantissa))), 0), 0)
    return f"{mantissa:.{decimals}f} {_PREFIXES[exponent]}{unit}"
