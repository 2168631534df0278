from __future__ import annotations

from typing import Any

import pytest

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS
from imcsim.energy.prices import COMPONENTS, Bill, current_memory_bytes, price_chip
from imcsim.hardware.crossbar import CrossbarUnit
from tests.mapping.chips import rram64


def bill(overrides: dict[str, Any] | None = None, classes: int = 10) -> Bill:
    return price_chip(rram64(overrides), classes)


def test_every_action_has_a_price_and_every_price_an_action() -> None:
    priced = {price.action for price in bill().prices}
    assert priced == {*FIXED_ACTIONS, *MEASURED_ACTIONS}
    assert all(price.energy_j > 0 for price in bill().prices)


def test_every_price_goes_to_a_component_of_the_report() -> None:
    components = {price.component for price in bill().prices}
    assert components | {"sigma_e", "leakage"} == set(COMPONENTS)
    assert len(set(COMPONENTS)) == len(COMPONENTS)
    # An action is charged to a component once.
    charged = [(price.action, price.component) for price in bill().prices]
    assert len(set(charged)) == len(charged)


def test_a_busy_and_an_idle_read_are_charged_what_the_crossbar_says() -> None:
    unit = CrossbarUnit.of(rram64())
    by_action: dict[str, float] = {}
    for price in bill().prices:
        by_action[price.action] = by_action.get(price.action, 0) + price.energy_j
    idle = unit.switch_clock_j + unit.mux_j + unit.adc_idle_j
    assert by_action["crossbar_read"] == pytest.approx(idle)
    assert by_action["busy_read"] == pytest.approx(unit.adc_busy_j)
    row = unit.wordline_j + unit.pedestal_j + unit.switch_drive_j
    assert by_action["row_activation"] == pytest.approx(row)


def test_area_counts_every_tile_that_is_built() -> None:
    one, whole = bill({"chip.mesh_columns": 1, "chip.mesh_rows": 1}), bill()
    per_tile = {"crossbar", "input_switch", "column_mux", "adc", "shift_add", "accumulators"}
    per_tile |= {"htree", "noc", "pooling"}
    for name in per_tile:
        assert whole.area_m2[name] == pytest.approx(121 * one.area_m2[name])
    assert whole.area_m2["sigma_e"] == one.area_m2["sigma_e"]
    for name, leakage in whole.leakage_w.items():
        assert leakage >= one.leakage_w[name]
    assert whole.area_m2["adc"] == pytest.approx(121 * 64 * 8 * 421.6e-12, rel=0.001)  # 9 bits


def test_totals_are_the_sums_over_components() -> None:
    whole = bill()
    assert whole.total_area_m2 == pytest.approx(sum(whole.area_m2.values()))
    assert whole.total_leakage_w == pytest.approx(sum(whole.leakage_w.values()))
    # Half of the chip or more is crossbars with their periphery.
    arrays = ("crossbar", "input_switch", "column_mux", "adc", "shift_add")
    assert 0.5 < sum(whole.area_m2[name] for name in arrays) / whole.total_area_m2 < 0.8


def test_buffers_are_those_of_the_chip_the_tiles_and_the_pes() -> None:
    tiny = {"chip.mesh_columns": 2, "chip.mesh_rows": 1}
    buffers = bill(tiny).area_m2["buffers"]
    # 20 KB, twice 10 KB and eight times 5 KB, in 2 KB banks of 5,515 µm².
    assert buffers == pytest.approx(40 * 5515e-12, rel=1e-6)


def test_the_memory_of_currents_is_only_built_where_they_are_kept() -> None:
    kept = {"dataflow.first_layer": "once"}
    assert current_memory_bytes(rram64()) == 0
    assert current_memory_bytes(rram64(kept)) == 163840
    extra = bill(kept).area_m2["buffers"] - bill().area_m2["buffers"]
    assert extra == pytest.approx(80 * 5515e-12, rel=1e-6)
    assert bill(kept).leakage_w["buffers"] > bill().leakage_w["buffers"]


def test_more_converter_bits_cost_more_area_and_energy() -> None:
    bills = [bill({"adc.bits": bits}) for bits in (4, 6, 8)]
    areas = [b.total_area_m2 for b in bills]
    assert areas == sorted(areas)
    conversions = [
        sum(price.energy_j for price in b.prices if price.component == "adc") for b in bills
    ]
    assert conversions == sorted(conversions)


def test_larger_tiles_have_longer_links() -> None:
    small, large = (
        next(p.energy_j for p in bill({"pe.crossbars": n}).prices if p.action == "link_bit")
        for n in (16, 64)
    )
    assert large > small


def test_an_exit_decision_costs_a_few_ten_picojoules() -> None:
    # NeuroSim V1.4's components at 10 classes: 32.5 pJ for one pass; two passes read twice.
    assert 20e-12 < bill().sigma_e_j < 70e-12
    assert bill(classes=100).sigma_e_j > bill().sigma_e_j
    assert bill().sigma_e_cycles > 0
