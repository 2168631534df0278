"""From seconds to clock cycles."""

from __future__ import annotations

import math

from imcsim.errors import MappingError

MOST_CYCLES = 10**6
"""Of one step; beyond it a time or the clock is wrong, and sums of cycles could overflow."""


def cycles_of(seconds: float, clock_hz: float, step: str = "a step") -> int:
    """Clock cycles that `seconds` take, rounded up; at least 1.

    Raises
    ------
    MappingError
        More than `MOST_CYCLES`; `step` names what takes so long.
    """
    # 9 ns at 500 MHz is 4.500000000000001 cycles in floats, 8 ns must stay 4.
    cycles = max(math.ceil(round(seconds * clock_hz, 6)), 1)
    if cycles > MOST_CYCLES:
        raise MappingError(
            f"{step} of {seconds:g} s takes {cycles:.3g} cycles at {clock_hz:g} Hz, at most"
            f" {MOST_CYCLES} are simulated (lower chip.clock_hz)"
        )
    return cycles
