"""SRAM buffers, made of 2 KB banks: one bank meets the clock, so a bit costs the same at every
capacity."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.chip import Chip


@dataclass(frozen=True)
class Sram:
    """A buffer of `capacity_bytes`."""

    read_bit_j: float
    write_bit_j: float
    area_m2: float
    leakage_w: float

    @classmethod
    def of(cls, chip: Chip, capacity_bytes: int) -> Sram:
        values, bits = chip.technology, 8 * capacity_bytes
        return cls(
            read_bit_j=values.sram_read_bit_j.value,
            write_bit_j=values.sram_write_bit_j.value,
            area_m2=bits * values.sram_bit_m2.value,
            leakage_w=bits * values.sram_bit_leakage_w.value,
        )
