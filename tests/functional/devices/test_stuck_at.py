from __future__ import annotations

import numpy as np
import pytest

from imcsim.chip.nonidealities import StuckAt
from imcsim.functional.devices.stuck_at import apply
from tests.functional.devices.layers import PEDESTAL, at_level, context

CELLS = 65536


def stuck(on: float, off: float) -> StuckAt:
    return StuckAt(model="stuck_at", on=on, off=off)


@pytest.mark.parametrize(("on", "off"), [(0.05, 0.05), (0.0, 0.05), (0.001, 0.002), (0.5, 0.5)])
def test_the_share_of_stuck_cells_is_what_was_asked_for(on: float, off: float) -> None:
    # NeuroSim V1.5, asked for 5 %, sticks the square of it, and 5 % + 5 % becomes 0.5 % + 9.5 %.
    cells = apply(stuck(on, off), at_level(7), context())
    for share, conductance in ((on, PEDESTAL + 15), (off, PEDESTAL)):
        sigma = (share * (1 - share) / CELLS) ** 0.5
        assert (cells == conductance).mean() == pytest.approx(share, abs=5 * sigma)
    free = ~np.isin(cells, (PEDESTAL, PEDESTAL + 15))
    assert (cells[free] == PEDESTAL + 7).all()


def test_no_faults_change_nothing_and_all_faults_everything() -> None:
    cells = at_level(7)
    np.testing.assert_array_equal(apply(stuck(0.0, 0.0), cells, context()), cells)
    assert (apply(stuck(1.0, 0.0), cells, context()) == PEDESTAL + 15).all()
    assert (apply(stuck(0.0, 1.0), cells, context()) == PEDESTAL).all()


def test_a_higher_rate_keeps_the_faults_of_a_lower_one_and_of_the_other_kind() -> None:
    few = apply(stuck(0.01, 0.02), at_level(7), context())
    more = apply(stuck(0.05, 0.02), at_level(7), context())
    on, off = PEDESTAL + 15, PEDESTAL
    assert (more[few == on] == on).all()
    np.testing.assert_array_equal(more == off, few == off)


def test_faults_of_another_chip_are_elsewhere() -> None:
    first, second = (
        apply(stuck(0.1, 0.0), at_level(7), context(seed=seed)) > PEDESTAL + 7 for seed in (0, 1)
    )
    # 1 % coincide by chance.
    assert (first & second).mean() == pytest.approx(0.01, abs=5 * (0.01 / CELLS) ** 0.5)
