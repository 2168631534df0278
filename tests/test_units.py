"""Numbers for people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.units import eng


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3.2e-8, "32.00 nm"),
        (1.0, "1.000 m"),
        (999.9, "999.9 m"),
        (1000.0, "1.000 km"),
        (123456.0, "123.5 km"),
        (5e8, "500.0 Mm"),
        (1e-18, "1.000 am"),
        (1.5e-13, "150.0 fm"),
        (2.5e-6, "2.500 µm"),
        (7e17, "700.0 Pm"),
    ],
)
def test_a_prefix_leaves_one_to_three_digits_before_the_point(value: float, written: str) -> None:
    assert eng(value, "m") == written
    assert eng(-value, "m") == f"-{written}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (999.96e-9, "1.000 µJ"),
        (9.9996, "10.00 J"),
        (99.996, "100.0 J"),
        (999.96, "1.000 kJ"),
        (999.94, "999.9 J"),
    ],
)
def test_rounding_carries_into_the_next_digit_and_prefix(value: float, written: str) -> None:
    assert eng(value, "J") == written


@pytest.mark.parametrize(("digits", "written"), [(1, "3 nm"), (2, "3.2 nm"), (6, "3.21987 nm")])
def test_the_number_of_digits_can_be_chosen(digits: int, written: str) -> None:
    assert eng(3.219871e-9, "m", digits) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0 J"), (-0.0, "0 J"), (math.nan, "nan J"), (math.inf, "inf J"), (-math.inf, "-inf J")],
)
def test_what_has_no_prefix_is_written_plainly(value: float, written: str) -> None:
    assert eng(value, "J") == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(4e-22, "4.000e-22 J"), (5e-324, "4.941e-324 J"), (-2e18, "-2.000e+18 J")],
)
def test_a_value_beyond_the_prefixes_keeps_its_power_of_ten(value: float, written: str) -> None:
    assert eng(value, "J") == written


@pytest.mark.parametrize(
    ("square_metres", "written"),
    [
        (6.017048881e-5, "60.17 mm²"),
        (0.0, "0 mm²"),
        (2.5e-9, "0.002500 mm²"),
        (1.0, "1000000 mm²"),
        (1e-15, "1.000e-09 mm²"),
        (-1e-6, "-1.000 mm²"),
        (math.nan, "nan mm²"),
    ],
)
def test_an_area_is_written_in_square_millimetres(square_metres: float, written: str) -> None:
    assert eng(square_metres, "m2") == written


FACTORS = dict(zip("afpnµm kMGTP", range(-18, 16, 3), strict=True))


@given(st.floats(min_value=1e-18, max_value=9e17), st.integers(2, 8))
def test_what_is_written_is_the_value_rounded(value: float, digits: int) -> None:
    mantissa, unit = eng(value, "J", digits).split(" ")
    back = float(mantissa) * 10.0 ** FACTORS[unit[0] if len(unit) > 1 else " "]
    assert back == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits))
    assert 1 <= float(mantissa) < 1000
    assert len(mantissa.replace(".", "")) >= min(digits, 3)
