from __future__ import annotations

import pytest

from imcsim.chip import Chip
from imcsim.hardware.crossbar import CrossbarUnit
from tests.mapping.chips import rram64

V13 = {
    "adc.bits": 4,
    # Switch matrix registers and shift-and-add registers, which the shipped table takes from V1.4.
    "technology.input_switch_clock_j": 9.54e-15,
    "technology.register_bit_j": 9.54e-15,
}
CELL_S = 22.7e-6
"""Mean conductance of the published runs (random weights)."""


def read_j(chip: Chip, active_rows: int, cell_s: float = CELL_S) -> float:
    """Energy of one read with so many active rows of cells with a mean conductance."""
    unit, cols = CrossbarUnit.of(chip), chip.crossbar.cols
    above = cols * (cell_s - chip.g_off_s) / chip.level_s * 16
    per_row = unit.wordline_j + unit.pedestal_j + unit.switch_drive_j + above * unit.conductance_j
    fixed = unit.switch_clock_j + unit.mux_j + unit.adc_idle_j + cols * unit.shift_add_j
    return fixed + active_rows * per_row + (unit.adc_busy_j if active_rows else 0)


@pytest.mark.parametrize(
    ("active_rows", "published_j"), [(0, 7.6e-12), (10, 14.115e-12), (32, 19.8e-12), (64, 27.9e-12)]
)
def test_a_read_costs_what_neurosim_v13_publishes(active_rows: int, published_j: float) -> None:
    assert read_j(rram64(V13), active_rows) == pytest.approx(published_j, rel=0.02)


def test_the_shipped_table_saves_what_version_14s_registers_save() -> None:
    # V1.3 less the difference of 512 register clocks and 64 · 0.5 · 6 shift-and-add register bits.
    saved = (512 + 192) * (9.54e-15 - 2.72e-15)
    expected = 14.115e-12 - saved
    assert read_j(rram64({"adc.bits": 4}), 10) == pytest.approx(expected, rel=0.02)
    assert expected == pytest.approx(9.3e-12, rel=0.01)


def test_the_area_is_neurosims_without_level_shifters() -> None:
    area = CrossbarUnit.of(rram64({"adc.bits": 4})).area_m2
    # 2,887 µm²; its shift-and-add has 28 µm² of control that we leave out.
    assert sum(area.values()) == pytest.approx(2887e-12, rel=0.012)
    assert area["crossbar"] == pytest.approx(201e-12, rel=0.001)
    assert area["adc"] == pytest.approx(8 * 223.1e-12, rel=0.001)
    assert area["input_switch"] == pytest.approx(459e-12, rel=0.001)
    assert area["column_mux"] == pytest.approx(193e-12, rel=0.001)


def test_a_shift_and_add_costs_what_neurosim_publishes() -> None:
    assert CrossbarUnit.of(rram64({"adc.bits": 4})).shift_add_j == pytest.approx(16.4e-15, rel=0.02)
    assert CrossbarUnit.of(rram64(V13)).shift_add_j == pytest.approx(36.8e-15, rel=0.02)


def test_the_current_of_a_cell_is_split_into_pedestal_and_levels() -> None:
    chip = rram64()
    unit = CrossbarUnit.of(chip)
    # All cells at R_on: the pedestal and 15 levels of 16 sixteenths each are exactly 1 / R_on.
    whole = unit.pedestal_j + 64 * 15 * 16 * unit.conductance_j
    pure = 64 * 50e-6 * 9e-9 * 0.0794 * 2 * 0.1
    assert whole == pytest.approx(pure)
    assert unit.pedestal_j == pytest.approx(pure / 10)


def test_a_differential_weight_has_as_many_slices_as_one_of_its_signs() -> None:
    offset, differential = (
        CrossbarUnit.of(rram64({"mapping.signed_weights": kind}))
        for kind in ("offset", "differential")
    )
    # 8 and 7 bits both take two 4-bit cells per sign.
    assert offset.shift_add_j == differential.shift_add_j


def test_leakage_and_cell_area_grow_with_the_number_of_cells() -> None:
    small, large = CrossbarUnit.of(rram64()), CrossbarUnit.of(rram64({"crossbar.rows": 256}))
    assert large.leakage_w == pytest.approx(4 * small.leakage_w)
    assert small.leakage_w == pytest.approx(0.0184e-6)
    assert large.area_m2["crossbar"] == pytest.approx(4 * small.area_m2["crossbar"])
    assert large.area_m2["adc"] == small.area_m2["adc"]


def test_fewer_columns_per_converter_take_more_area_and_fewer_mux_cycles() -> None:
    units = [CrossbarUnit.of(rram64({"adc.columns_per_adc": c})) for c in (1, 4, 8, 64)]
    areas = [unit.area_m2["adc"] for unit in units]
    assert areas == sorted(areas, reverse=True)
    clocks = [unit.switch_clock_j for unit in units]
    assert clocks == sorted(clocks)
    # A last converter with fewer columns is a whole converter.
    odd = CrossbarUnit.of(rram64({"adc.columns_per_adc": 7}))
    assert odd.area_m2["adc"] == pytest.approx(10 / 8 * units[2].area_m2["adc"])
