"""Tables of component values (energy, leakage, area, time), each with its source.

A table is a YAML file: packaged ones lie beside this module and are named without suffix
(``technology: neurosim_32nm_lstp``); a path names the user's own.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """One number of a technology table, in SI units."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    value: float = Field(ge=0)
    source: str = Field(min_length=1)


class Technology(BaseModel):
    """Component values of one process and one set of sources; the unit is the suffix of the name.

    `_j`: energy per the action named; `_bit_m_j`: per bit and metre; `_w`: leakage; `_m2`: area;
    `_s`: time; `_v`: voltage.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    description: str
    supply_v: Value
    """Supply voltage that all values are for; they are not scaled to another one."""
    # Crossbar array and drivers
    wordline_cell_j: Value
    """Word line of one active row, per cell on it and per mux cycle."""
    input_switch_clock_j: Value
    """Switch matrix register, per row and mux cycle, active or not."""
    input_switch_drive_j: Value
    """Switch matrix pass gates, per active row and mux cycle."""
    column_mux_j: Value
    """Column multiplexer, per conversion."""
    mux_decoder_j: Value
    """Column decoder, per mux cycle."""
    array_leakage_w: Value
    """A 64×64 array with its periphery (ADCs included)."""
    array_cell_m2: Value
    input_switch_row_m2: Value
    column_mux_column_m2: Value
    mux_decoder_m2: Value
    # SAR ADC:
    # E = (bits + 1)·time_per_bit·[power_base + bits·power_per_bit + current_factor·2·V_read·G]
    sar_time_per_bit_s: Value
    sar_power_base_w: Value
    sar_power_per_bit_w: Value
    sar_current_factor_v: Value
    """Times 2·V_read [V] and G_column [S] gives the power of the read current in the ADC [W]."""
    sar_idle_power_w: Value
    """Power during a conversion of a column without any active row."""
    sar_area_4bit_m2: Value
    sar_area_per_bit_m2: Value
    # Digital logic
    adder_bit_j: Value
    adder_bit_leakage_w: Value
    adder_bit_m2: Value
    comparator_bit_j: Value
    comparator_bit_m2: Value
    register_bit_j: Value
    """One register bit that is clocked and written."""
    register_bit_leakage_w: Value
    register_bit_m2: Value
    multiplier_8bit_j: Value
    multiplier_8bit_m2: Value
    pool_or_j: Value
    """One output of a 2×2 OR (max pool of spikes)."""
    pool_unit_m2: Value
    # Memories: banks of 2 KB
    sram_read_bit_j: Value
    sram_write_bit_j: Value
    sram_bit_leakage_w: Value
    sram_bit_m2: Value
    lut_read_j: Value
    lut_3kb_m2: Value
    fifo_access_j: Value
    """One 16-bit word in or out."""
    fifo_word_m2: Value
    # Wires
    htree_bit_m_j: Value
    """H-tree wire with repeaters, per bit and metre."""
    htree_bit_m2: Value
    """Area of an H-tree per bit of its width."""
    router_bit_j: Value
    """NoC router, per bit and hop."""
    router_leakage_w: Value
    router_m2: Value
    link_bit_m_j: Value
    """NoC link, per bit and metre."""
    image_load_bit_j: Value
    """Off-chip memory and port, per bit of an image."""
