from __future__ import annotations

import pytest

from imcsim.hardware.adc import SarAdc, conversion_cycles, conversion_s
from tests.mapping.chips import rram64

COLUMN_S = 0.227e-3
"""Conductance of the published conversions: 10 active cells of 22.7 µS."""


@pytest.mark.parametrize(
    ("bits", "published_j"),
    [(4, 0.0856e-12), (5, 0.1095e-12), (6, 0.1356e-12), (7, 0.164e-12), (8, 0.1947e-12)],
)
def test_a_conversion_costs_what_neurosim_publishes(bits: int, published_j: float) -> None:
    adc = SarAdc.of(rram64({"adc.bits": bits}))
    energy = adc.energy_j + COLUMN_S * adc.current_energy_js
    assert energy == pytest.approx(published_j, rel=0.01)


@pytest.mark.parametrize(
    ("bits", "published_um2"), [(4, 223.1), (5, 262.8), (6, 302.5), (7, 342.1), (8, 381.8)]
)
def test_the_area_is_neurosims(bits: int, published_um2: float) -> None:
    area = SarAdc.of(rram64({"adc.bits": bits})).area_m2
    assert area == pytest.approx(published_um2 * 1e-12, rel=0.001)


def test_a_column_without_a_spike_costs_a_microwatt_for_the_conversion() -> None:
    assert SarAdc.of(rram64({"adc.bits": 4})).idle_energy_j == pytest.approx(5e-15)


def test_more_bits_cost_more_of_everything() -> None:
    chips = [rram64({"adc.bits": bits}) for bits in range(1, 13)]
    for values in (
        [SarAdc.of(chip).energy_j for chip in chips],
        [SarAdc.of(chip).idle_energy_j for chip in chips],
        [SarAdc.of(chip).area_m2 for chip in chips],
        [conversion_s(chip) for chip in chips],
    ):
        assert values == sorted(values)
        assert len(set(values)) == len(values)
        assert values[0] > 0


def test_the_read_current_is_linear_in_the_read_voltage() -> None:
    low, high = (SarAdc.of(rram64({"crossbar.read_v": v})) for v in (0.1, 0.5))
    assert high.current_energy_js == pytest.approx(5 * low.current_energy_js)
    assert high.energy_j == low.energy_j
    # NeuroSim V1.3 at 0.5 V: 0.159 pJ.
    four = SarAdc.of(rram64({"crossbar.read_v": 0.5, "adc.bits": 4}))
    assert four.energy_j + COLUMN_S * four.current_energy_js == pytest.approx(0.159e-12, rel=0.02)


@pytest.mark.parametrize(
    ("bits", "clock_hz", "cycles"), [(8, 500e6, 5), (7, 500e6, 4), (4, 1e9, 5), (1, 1e8, 1)]
)
def test_a_conversion_takes_whole_cycles(bits: int, clock_hz: float, cycles: int) -> None:
    chip = rram64({"adc.bits": bits, "chip.clock_hz": clock_hz})
    assert conversion_s(chip) == pytest.approx((bits + 1) * 1e-9)
    assert conversion_cycles(chip) == cycles
