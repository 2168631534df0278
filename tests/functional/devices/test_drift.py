from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from imcsim.chip.nonidealities import Drift
from imcsim.functional.devices.drift import apply
from tests.functional.devices.layers import PEDESTAL, at_level, context

CELLS = 65536
ON = PEDESTAL + 15
HOUR = 3600.0


def drift(law: str, time_s: float, **values: Any) -> Drift:
    return Drift.model_validate({"model": "drift", "law": law, "time_s": time_s} | values)


@pytest.mark.parametrize("law", ["relaxation", "power_law"])
def test_nothing_has_changed_at_time_zero(law: str) -> None:
    cells = at_level(7)
    np.testing.assert_array_equal(apply(drift(law, 0.0), cells, context()), cells)


@pytest.mark.parametrize("law", ["relaxation", "power_law"])
def test_drift_of_no_strength_changes_nothing(law: str) -> None:
    none = (
        {"shift_per_efold": 0.0, "sigma_at_1s": 0.0, "sigma_per_efold": 0.0}
        if law == "relaxation"
        else {"exponent": 0.0, "exponent_sigma": 0.0}
    )
    cells = at_level(7)
    np.testing.assert_array_equal(apply(drift(law, HOUR, **none), cells, context()), cells)


@pytest.mark.parametrize("level", [2, 15])
@pytest.mark.parametrize("time_s", [1.0, HOUR, 1e7])
def test_relaxation_moves_mean_and_spread_with_the_logarithm_of_time(
    level: int, time_s: float
) -> None:
    cells = apply(drift("relaxation", time_s), at_level(level), context())
    # In µS of the device of the fit, whose G_on is 88.2 µS.
    changed = (cells - PEDESTAL - level) / ON * 88.2
    sigma = 0.4118 + 0.04201 * math.log(time_s)
    assert changed.mean() == pytest.approx(-0.0890 * math.log(time_s), abs=5 * sigma / 256)
    assert changed.std() == pytest.approx(sigma, rel=5 / (2 * CELLS) ** 0.5)


def test_relaxation_before_one_second_is_that_at_one_second() -> None:
    early, second = (apply(drift("relaxation", t), at_level(7), context()) for t in (0.1, 1.0))
    np.testing.assert_array_equal(early, second)


def test_the_power_law_falls_by_the_exponent() -> None:
    cells = apply(drift("power_law", 180.0, exponent_sigma=0.0), at_level(7), context())
    # (t + t_0) / t_0 = 10
    np.testing.assert_allclose(cells, (PEDESTAL + 7) * 10**-0.049, rtol=1e-12)


def test_the_exponent_of_the_power_law_varies_from_cell_to_cell() -> None:
    cells = apply(drift("power_law", 180.0), at_level(7), context())
    exponent = -np.log10(cells / (PEDESTAL + 7))
    assert exponent.mean() == pytest.approx(0.049, abs=5 * 0.008 / 256)
    assert exponent.std() == pytest.approx(0.008, rel=5 / (2 * CELLS) ** 0.5)


def test_no_cell_of_the_power_law_gains() -> None:
    wide = drift("power_law", HOUR, exponent=0.01, exponent_sigma=0.1)
    assert apply(wide, at_level(7), context()).max() <= PEDESTAL + 7


@pytest.mark.parametrize("law", ["relaxation", "power_law"])
def test_a_chip_ages_instead_of_being_drawn_again(law: str) -> None:
    hour, day = (apply(drift(law, t), at_level(7), context()) for t in (HOUR, 24 * HOUR))
    assert np.corrcoef(hour.ravel(), day.ravel())[0, 1] > 0.999
    other = apply(drift(law, HOUR), at_level(7), context(seed=1))
    assert abs(np.corrcoef(hour.ravel(), other.ravel())[0, 1]) < 5 / 256


def test_a_conductance_is_never_negative() -> None:
    cells = apply(drift("relaxation", HOUR, sigma_at_1s=1.0), at_level(0), context())
    assert cells.min() == 0
