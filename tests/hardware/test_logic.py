from __future__ import annotations

import pytest

from imcsim.hardware.logic import Accumulator, LifUnit, PoolingUnit
from imcsim.hardware.memory import Sram
from tests.mapping.chips import rram64


def test_a_neuron_update_with_its_memory_costs_what_neurosim_composes() -> None:
    # Two adders, a comparator, a read and a write of 16 bits: 0.349 pJ with V1.4's memory.
    chip = rram64()
    memory = Sram.of(chip, 1024)
    update = LifUnit.of(chip).update_j
    with_memory = update + 16 * (memory.read_bit_j + memory.write_bit_j)
    assert with_memory == pytest.approx(0.349e-12, rel=0.02)


def test_twelve_bit_neurons_cost_twelve_sixteenths() -> None:
    wide, narrow = LifUnit.of(rram64()), LifUnit.of(rram64({"lif.membrane_bits": 12}))
    for name in ("update_j", "area_m2", "leakage_w"):
        assert getattr(narrow, name) == pytest.approx(12 / 16 * getattr(wide, name))


def test_twice_the_lanes_take_twice_the_area_at_the_same_energy() -> None:
    one, two = LifUnit.of(rram64()), LifUnit.of(rram64({"lif.lanes": 64}))
    assert two.area_m2 == pytest.approx(2 * one.area_m2)
    assert two.leakage_w == pytest.approx(2 * one.leakage_w)
    assert two.update_j == one.update_j
    chip = rram64()
    narrow, wide = Accumulator.of(chip, 16), Accumulator.of(chip, 32)
    assert wide.area_m2 == pytest.approx(2 * narrow.area_m2)
    assert wide.leakage_w == pytest.approx(2 * narrow.leakage_w)
    assert wide.add_bit_j == narrow.add_bit_j


def test_an_accumulated_bit_is_an_adder_and_a_register_bit() -> None:
    accumulator = Accumulator.of(rram64(), 1)
    assert accumulator.add_bit_j == pytest.approx((2.02 + 2.72) * 1e-15)
    assert accumulator.popcount_bit_j == pytest.approx(2.02e-15)
    assert accumulator.area_m2 == pytest.approx(32 * (2.94 + 2.61) * 1e-12)
    assert accumulator.leakage_w == pytest.approx(32 * (0.22 + 0.058) * 1e-9)


def test_a_pooled_output_costs_the_published_or() -> None:
    pooling = PoolingUnit.of(rram64())
    assert pooling.output_j == pytest.approx(1.8e-15)
    assert pooling.area_m2 == pytest.approx(21e-12)
