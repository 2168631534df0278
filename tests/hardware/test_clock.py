from __future__ import annotations

from fractions import Fraction

import pytest

from imcsim.errors import MappingError
from imcsim.hardware.adc import conversion_cycles
from imcsim.hardware.clock import cycles_of
from tests.mapping.chips import rram64


def test_times_are_rounded_up_to_whole_cycles_and_floats_add_none() -> None:
    for nanoseconds in range(1, 300):
        for megahertz in (100, 500, 750, 1000):
            exact = Fraction(nanoseconds * megahertz, 1000)
            assert cycles_of(nanoseconds * 1e-9, megahertz * 1e6) == -(-exact // 1)


def test_everything_takes_a_cycle() -> None:
    assert cycles_of(1e-12, 1e3) == 1


def test_settling_and_looking_up_take_two_cycles_at_500_mhz() -> None:
    chip = rram64()
    times = chip.crossbar.settle_s, chip.sigma_e.lut_s
    assert [cycles_of(time, 500e6) for time in times] == [2, 2]
    assert [cycles_of(time, 1e9) for time in times] == [4, 3]


def test_more_than_a_million_cycles_are_refused() -> None:
    assert cycles_of(1e-3, 1e9) == 10**6
    with pytest.raises(MappingError, match=r"^crossbar.settle_s of 0.002 s takes 2e\+06 cycles"):
        cycles_of(2e-3, 1e9, "crossbar.settle_s")
    chip = rram64({"technology.sar_time_per_bit_s": 1.0, "adc.bits": 8})
    with pytest.raises(
        MappingError,
        match=r"^an ADC conversion of 9 s takes 4.5e\+09 cycles at 5e\+08 Hz, at most 1000000 are"
        r" simulated \(lower chip.clock_hz\)$",
    ):
        conversion_cycles(chip)
