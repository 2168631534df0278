from __future__ import annotations

import pytest

from imcsim.hardware.memory import Sram
from tests.mapping.chips import rram64


def test_a_two_kilobyte_bank_has_the_published_area_energy_and_leakage() -> None:
    bank = Sram.of(rram64(), 2048)
    assert bank.area_m2 == pytest.approx(5515e-12, rel=1e-6)
    assert (bank.read_bit_j, bank.write_bit_j) == pytest.approx((8.0e-15, 9.5e-15))
    assert bank.leakage_w == pytest.approx(16384 * 5.77e-12)


def test_ten_banks_cost_ten_times_the_area_but_the_same_energy_per_bit() -> None:
    chip = rram64()
    one, ten = Sram.of(chip, 2048), Sram.of(chip, 20480)
    assert ten.area_m2 == pytest.approx(10 * one.area_m2)
    assert ten.leakage_w == pytest.approx(10 * one.leakage_w)
    assert ten.read_bit_j == one.read_bit_j


def test_a_memory_that_is_not_built_costs_nothing() -> None:
    none = Sram.of(rram64(), 0)
    assert none.area_m2 == none.leakage_w == 0
