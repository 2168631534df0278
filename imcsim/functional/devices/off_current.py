"""The finite on/off ratio, and what corrects it.

Level 0 is R_off, not an open circuit: every active row adds the current of R_off to every column,
`pedestal_levels` of a level step. What becomes of it is ``device.off_current``:

- `corrected`: an ideal dummy column takes the share of ideal R_off cells off before the converter.
- `digital`: it passes the converter, and takes its part of the range; its nominal value for every
  active row is then subtracted from the sum, without being quantised itself.
- `uncorrected`: it passes the converter and stays. Differential columns lose it by themselves; an
  offset-coded sum is too high by the share times the active rows times Σ factor over the planes.

What a cell at R_off deviates from R_off is taken off by none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imcsim.chip import Chip


def pedestal_levels(chip: Chip) -> float:
    """Conductance of level 0 in level steps: (2^bits − 1) / (R_off/R_on − 1), 15/9 by Table I."""
    return chip.g_off_s / chip.level_s


def taken_before_converter(chip: Chip) -> float:
    """Levels that are taken off a column's current for each active row."""
    return pedestal_levels(chip) if chip.device.off_current == "corrected" else 0.0


def taken_after_converter(chip: Chip) -> float:
    """Levels that are taken off a column's digital sum for each active row."""
    return pedestal_levels(chip) if chip.device.off_current == "digital" else 0.0
