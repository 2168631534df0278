"""SAR converters behind the column multiplexers.

Fit to DNN+NeuroSim's circuit module at 32 nm LSTP (constants and conditions in the technology
table): ``E = (b + 1)·t_bit · [P_base + b·P_bit + k·2·V_read·G_column]``; the last term, the cells'
read current, is charged to the crossbar. One bit per comparison and one to sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.chip import Chip
from imcsim.hardware.clock import cycles_of


def conversion_s(chip: Chip) -> float:
    """Time of one conversion [s]: (bits + 1) · time per bit."""
    return (chip.adc.bits + 1) * chip.technology.sar_time_per_bit_s.value


def conversion_cycles(chip: Chip) -> int:
    """Clock cycles of one conversion, rounded up."""
    return cycles_of(conversion_s(chip), chip.chip.clock_hz, "an ADC conversion")


@dataclass(frozen=True)
class SarAdc:
    """One converter."""

    energy_j: float
    """Per conversion of a column with an active row, without the cells' read current."""
    idle_energy_j: float
    """Per conversion of a column without any active row."""
    current_energy_js: float
    """Per conversion and siemens of active conductance [J/S]: the cells' read current."""
    area_m2: float

    @classmethod
    def of(cls, chip: Chip) -> SarAdc:
        values, bits, time = chip.technology, chip.adc.bits, conversion_s(chip)
        power = values.sar_power_base_w.value + bits * values.sar_power_per_bit_w.value
        return cls(
            energy_j=time * power,
            idle_energy_j=time * values.sar_idle_power_w.value,
            current_energy_js=time * values.sar_current_factor_v.value * 2 * chip.crossbar.read_v,
            area_m2=values.sar_area_4bit_m2.value + (bits - 4) * values.sar_area_per_bit_m2.value,
        )
