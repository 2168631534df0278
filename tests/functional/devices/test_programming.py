from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from imcsim.chip.nonidealities import WAN_2022_1S, Programming, ProgramVerify
from imcsim.functional.devices.programming import (
    level_sigma,
    perturb_weights,
    write_and_verify,
    write_cells,
)
from tests.functional.devices.layers import PEDESTAL, at_level, context

CELLS = 65536
ON = PEDESTAL + 15


def programming(**values: Any) -> Programming:
    return Programming.model_validate(
        {"model": "programming", "spread": "proportional", "sigma": 0.2} | values
    )


def level_dependent(*coefficients: float) -> Programming:
    return programming(spread="level_dependent", sigma=None, sigma_coefficients=coefficients)


def assert_moments(sample: npt.NDArray[Any], mean: float, sigma: float) -> None:
    """Mean and standard deviation of CELLS draws, within five standard deviations (of a normal
    distribution; those tested here have tails of at most that size)."""
    assert sample.mean() == pytest.approx(mean, abs=5 * sigma / CELLS**0.5)
    assert sample.std() == pytest.approx(sigma, rel=5 / (2 * CELLS) ** 0.5)


@pytest.mark.parametrize("spread", ["proportional", "lognormal"])
@pytest.mark.parametrize("level", [0, 7, 15])
def test_cells_spread_around_their_target_by_sigma_of_it(spread: str, level: int) -> None:
    written = write_cells(programming(spread=spread, sigma=0.1), at_level(level), context())
    assert_moments(written, PEDESTAL + level, 0.1 * (PEDESTAL + level))


def test_lognormal_spread_is_lognormal() -> None:
    written = write_cells(programming(spread="lognormal", sigma=0.5), at_level(5), context())
    shape = np.log(1.25) ** 0.5
    exact = stats.lognorm(shape, scale=(PEDESTAL + 5) * np.exp(-(shape**2) / 2))
    assert exact.mean() == pytest.approx(PEDESTAL + 5)
    assert stats.kstest(written.ravel(), exact.cdf).pvalue > 1e-3


def test_a_conductance_is_never_negative() -> None:
    written = write_cells(programming(sigma=1.0), at_level(5), context())
    assert written.min() == 0
    share = stats.norm.cdf(-1)
    assert (written == 0).mean() == pytest.approx(share, abs=5 * (share / CELLS) ** 0.5)


@pytest.mark.parametrize("level", [0, 4, 15])
def test_level_dependent_spread_is_the_polynomial(level: int) -> None:
    model = level_dependent(0.01, 0.0, 0.04)
    written = write_cells(model, at_level(level), context())
    sigma = ON * (0.01 + 0.04 * ((PEDESTAL + level) / ON) ** 2)
    assert_moments(written, PEDESTAL + level, sigma)


def test_the_cited_polynomial_is_that_of_wan_et_al_in_microsiemens() -> None:
    # Fit in aihwkit: µS over G/40 µS; CrossSim's fit of the same figure: µS over µS, to 39.26 µS.
    conductance = np.array([4.0, 10.0, 20.0, 30.0, 39.0])
    model = programming(spread="level_dependent", sigma=None)
    ours = level_sigma(model, conductance / 40 * ON, context()) * 40 / ON
    x = conductance / 40
    aihwkit = -16.815 * x**4 + 45.393 * x**3 - 43.853 * x**2 + 16.030 * x + 0.348
    np.testing.assert_allclose(ours, aihwkit, rtol=1e-12)
    crosssim = 1.536e-4 * conductance**3 - 1.167e-2 * conductance**2 + 0.2374 * conductance + 1.053
    np.testing.assert_allclose(ours, crosssim, atol=0.51)  # µS; the figure was read off twice
    assert model.sigma_coefficients == WAN_2022_1S


def test_a_polynomial_below_zero_counts_as_zero() -> None:
    target = at_level(15)
    np.testing.assert_array_equal(write_cells(level_dependent(-0.1), target, context()), target)


@pytest.mark.parametrize("spread", ["proportional", "lognormal"])
def test_no_spread_leaves_every_target(spread: str) -> None:
    target = at_level(3)
    written = write_cells(programming(spread=spread, sigma=0.0), target, context())
    np.testing.assert_array_equal(written, target)
    weights = np.arange(-128, 128).clip(-127)[:, None].repeat(128, axis=1)
    model = programming(spread=spread, sigma=0.0, granularity="weight")
    np.testing.assert_array_equal(perturb_weights(model, weights, context()), weights)


def test_every_cell_has_its_own_draw() -> None:
    # MNSIM 2.0 draws one number per level: two distinct conductances in a million binary cells.
    written = write_cells(programming(), at_level(15), context())
    assert len(np.unique(written)) == CELLS


def test_a_chip_is_drawn_from_its_seed() -> None:
    model, target = programming(), at_level(8)
    chips = [write_cells(model, target, context(seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(chips[0], chips[1])
    correlation = np.corrcoef(chips[0].ravel(), chips[2].ravel())[0, 1]
    assert abs(correlation) < 5 / CELLS**0.5


@pytest.mark.parametrize(("spread", "weight"), [("proportional", -50), ("lognormal", 30)])
def test_weights_spread_around_their_value(spread: str, weight: int) -> None:
    model = programming(spread=spread, sigma=0.2, granularity="weight")
    stored = perturb_weights(model, np.full((256, 128), weight), context()).astype(float)
    assert stored.mean() == pytest.approx(weight, abs=5 * 0.2 * abs(weight) / (CELLS / 2) ** 0.5)
    # Rounding to whole weights adds a variance of 1/12.
    sigma = ((0.2 * weight) ** 2 + 1 / 12) ** 0.5
    assert stored.std() == pytest.approx(sigma, rel=0.03)


def test_weights_clip_at_the_largest() -> None:
    model = programming(granularity="weight")
    stored = perturb_weights(model, np.full((256, 128), 120), context())
    share = stats.norm.sf((126.5 / 120 - 1) / 0.2)
    assert (stored == 127).mean() == pytest.approx(share, abs=5 * (share / 32768) ** 0.5)
    assert perturb_weights(model, np.full((256, 128), -7), context(), largest=7).min() == -7


def verify(tolerance: float, attempts: int) -> ProgramVerify:
    return ProgramVerify(model="program_verify", tolerance=tolerance, attempts=attempts)


def test_one_attempt_is_no_verification() -> None:
    target = at_level(8)
    np.testing.assert_array_equal(
        write_and_verify(programming(), verify(0.05, 1), target, context()),
        write_cells(programming(), target, context()),
    )


@pytest.mark.parametrize("attempts", [2, 8])
def test_verified_cells_miss_the_tolerance_as_often_as_all_attempts_fail(attempts: int) -> None:
    target = at_level(8)
    written = write_and_verify(programming(), verify(0.1, attempts), target, context())
    fails = 2 * stats.norm.sf(0.1 / 0.2)
    missed = np.abs(written / target - 1) > 0.1
    share = fails**attempts
    assert missed.mean() == pytest.approx(share, abs=5 * (share / CELLS) ** 0.5)
    # Accepted ones are a normal distribution cut off at the tolerance, still around the target.
    accepted = stats.truncnorm(-0.5, 0.5, loc=1, scale=0.2)
    inside = (written / target)[~missed]
    assert inside.mean() == pytest.approx(1, abs=5 * accepted.std() / inside.size**0.5)
    assert inside.std() == pytest.approx(accepted.std(), rel=0.02)


def test_verification_changes_only_cells_that_missed() -> None:
    target = at_level(8)
    first = write_cells(programming(), target, context())
    verified = write_and_verify(programming(), verify(0.1, 4), target, context())
    near = np.abs(first / target - 1) <= 0.1
    np.testing.assert_array_equal(verified[near], first[near])
    assert (verified[~near] != first[~near]).all()


def test_cells_that_are_all_near_are_not_written_again() -> None:
    target = at_level(8)
    model = programming(sigma=0.0)
    np.testing.assert_array_equal(
        write_and_verify(model, verify(1e-6, 1000), target, context()), target
    )
