"""Digital units: accumulators, neurons, pooling."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.chip import Chip

ACCUMULATOR_BITS = 32
"""Width of an accumulator lane: the widest sum any supported layer can need."""


@dataclass(frozen=True)
class Accumulator:
    """Adders and registers, `lanes` wide; PE, tile and global accumulators are alike."""

    add_bit_j: float
    """Per bit added and stored."""
    popcount_bit_j: float
    """Per input bit counted for the correction of offset-coded weights (an adder tree of one-bit
    leaves)."""
    area_m2: float
    leakage_w: float

    @classmethod
    def of(cls, chip: Chip, lanes: int) -> Accumulator:
        values, bits = chip.technology, lanes * ACCUMULATOR_BITS
        return cls(
            add_bit_j=values.adder_bit_j.value + values.register_bit_j.value,
            popcount_bit_j=values.adder_bit_j.value,
            area_m2=bits * (values.adder_bit_m2.value + values.register_bit_m2.value),
            leakage_w=bits
            * (values.adder_bit_leakage_w.value + values.register_bit_leakage_w.value),
        )


@dataclass(frozen=True)
class LifUnit:
    """`lif.lanes` neurons at once: two additions (leak and integrate) and a comparison per
    update."""

    update_j: float
    area_m2: float
    leakage_w: float

    @classmethod
    def of(cls, chip: Chip) -> LifUnit:
        values, bits = chip.technology, chip.lif.membrane_bits
        per_neuron = 2 * values.adder_bit_m2.value + values.comparator_bit_m2.value
        return cls(
            update_j=bits * (2 * values.adder_bit_j.value + values.comparator_bit_j.value),
            area_m2=chip.lif.lanes * bits * per_neuron,
            leakage_w=chip.lif.lanes * bits * 2 * values.adder_bit_leakage_w.value,
        )


@dataclass(frozen=True)
class PoolingUnit:
    """OR of spikes (or their count) over a window; one output per cycle."""

    output_j: float
    area_m2: float

    @classmethod
    def of(cls, chip: Chip) -> PoolingUnit:
        return cls(chip.technology.pool_or_j.value, chip.technology.pool_unit_m2.value)
