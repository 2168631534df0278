"""The crossbar with its drivers, multiplexers and shift-and-add units (one 1T1R array and what
stands around it)."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.chip import Chip
from imcsim.hardware.adc import SarAdc

REFERENCE_CELLS = 64 * 64
"""`array_leakage_w` is of a 64×64 array; other sizes in proportion to their cells."""


@dataclass(frozen=True)
class CrossbarUnit:
    """Energy per action, area and leakage of one crossbar."""

    wordline_j: float
    """Per active row and read: the word line is driven in every mux cycle."""
    pedestal_j: float
    """Per active row and read: read current of all its cells at R_off."""
    conductance_j: float
    """Per 1/16 level of active conductance and read: read current above R_off."""
    switch_clock_j: float
    """Per read: the switch matrix registers of all rows, active or not."""
    switch_drive_j: float
    """Per active row and read."""
    mux_j: float
    """Per read: column multiplexers and decoder."""
    adc_idle_j: float
    """Per read, for all columns, whatever the inputs are."""
    adc_busy_j: float
    """Per read with an active row, on top of `adc_idle_j`."""
    shift_add_j: float
    """Per ADC code."""
    area_m2: dict[str, float]
    leakage_w: float

    @classmethod
    def of(cls, chip: Chip) -> CrossbarUnit:
        values, adc = chip.technology, SarAdc.of(chip)
        rows, cols, mux = chip.crossbar.rows, chip.crossbar.cols, chip.conversions_per_adc
        groups, conversions = chip.adcs_per_crossbar, chip.conversions_per_read
        slices = 1 if chip.mapping.slices == "separate" else chip.slices_per_weight
        adder, register = values.adder_bit_j.value, values.register_bit_j.value
        stored = chip.adc.bits + slices
        return cls(
            wordline_j=mux * cols * values.wordline_cell_j.value,
            pedestal_j=cols * chip.g_off_s * adc.current_energy_js,
            conductance_j=chip.level_s / 16 * adc.current_energy_js,
            switch_clock_j=mux * rows * values.input_switch_clock_j.value,
            switch_drive_j=mux * values.input_switch_drive_j.value,
            mux_j=cols * values.column_mux_j.value + mux * values.mux_decoder_j.value,
            adc_idle_j=conversions * adc.idle_energy_j,
            adc_busy_j=conversions * (adc.energy_j - adc.idle_energy_j),
            # NeuroSim: adder of the code's width, half of the register's bits toggle.
            shift_add_j=chip.adc.bits * adder + 0.5 * stored * register,
            area_m2={
                "crossbar": rows * cols * values.array_cell_m2.value,
                "input_switch": rows * values.input_switch_row_m2.value,
                "column_mux": cols * values.column_mux_column_m2.value
                + values.mux_decoder_m2.value,
                "adc": groups * adc.area_m2,
                "shift_add": groups
                * (
                    chip.adc.bits * values.adder_bit_m2.value
                    + stored * values.register_bit_m2.value
                ),
            },
            leakage_w=values.array_leakage_w.value * rows * cols / REFERENCE_CELLS,
        )
