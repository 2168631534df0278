"""What each action costs: (action, component, joules), and the area and leakage of what is
built."""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.chip import Chip
from imcsim.hardware.crossbar import CrossbarUnit
from imcsim.hardware.logic import Accumulator, LifUnit, PoolingUnit
from imcsim.hardware.memory import Sram
from imcsim.hardware.sigma_e import SigmaEModule
from imcsim.hardware.wires import HTree, Mesh

COMPONENTS = (
    "crossbar", "input_switch", "column_mux", "adc", "shift_add", "accumulators", "buffers",
    "htree", "noc", "lif", "pooling", "image_load", "sigma_e", "leakage",
)  # fmt: skip
"""Energy by component, in the order of every report."""


@dataclass(frozen=True)
class Price:
    """Energy of one action, charged to one component."""

    action: str
    component: str
    energy_j: float


@dataclass(frozen=True)
class Bill:
    """Everything a chip costs."""

    prices: tuple[Price, ...]
    area_m2: dict[str, float]
    """By component; what is built, used or not."""
    leakage_w: dict[str, float]
    sigma_e_j: float
    """One evaluation of the σ-E module."""
    sigma_e_cycles: int

    @property
    def total_area_m2(self) -> float:
        return sum(self.area_m2.values())

    @property
    def total_leakage_w(self) -> float:
        return sum(self.leakage_w.values())


@dataclass(frozen=True)
class _Parts:
    """The chip's components, sized once: wires need the area of what they span."""

    crossbar: CrossbarUnit
    pe_buffer: Sram
    tile_buffer: Sram
    global_buffer: Sram
    membranes: Sram
    currents: Sram
    pe_accumulator: Accumulator
    tile_accumulator: Accumulator
    lif: LifUnit
    pooling: PoolingUnit
    pe_htree: HTree
    tile_htree: HTree
    mesh: Mesh


def price_chip(chip: Chip, classes: int) -> Bill:
    """Derive all prices of a chip that runs a network with `classes` classes.

    Every tile has a tile and a global accumulator, a LIF and a pooling unit (any tile can be a home
    tile), and a router.
    """
    parts = _parts(chip)
    sigma_e = SigmaEModule.of(chip.sigma_e, classes, chip.chip.clock_hz)
    area, leakage = _built(chip, parts)
    area["sigma_e"] = sigma_e.area_m2(chip.technology)
    leakage["sigma_e"] = sigma_e.leakage_w(chip.technology)
    return Bill(
        prices=_prices(chip, parts),
        area_m2=area,
        leakage_w=leakage,
        sigma_e_j=sigma_e.energy_j(chip.technology),
        sigma_e_cycles=sigma_e.cycles,
    )


def _parts(chip: Chip) -> _Parts:
    crossbar = CrossbarUnit.of(chip)
    pe_buffer, tile_buffer = (
        Sram.of(chip, chip.pe.buffer_bytes),
        Sram.of(chip, chip.tile.buffer_bytes),
    )
    pe_accumulator = Accumulator.of(chip, chip.pe.accumulator_lanes)
    tile_accumulator = Accumulator.of(chip, chip.tile.accumulator_lanes)
    lif, pooling = LifUnit.of(chip), PoolingUnit.of(chip)
    crossbars_m2 = chip.pe.crossbars * sum(crossbar.area_m2.values())
    pe_htree = HTree.of(chip, chip.pe.crossbars, crossbars_m2, chip.pe.htree_bits)
    pe_m2 = crossbars_m2 + pe_buffer.area_m2 + pe_accumulator.area_m2 + pe_htree.area_m2
    tile_htree = HTree.of(chip, chip.tile.pes, chip.tile.pes * pe_m2, chip.tile.htree_bits)
    tile_m2 = (
        chip.tile.pes * pe_m2 + tile_htree.area_m2 + tile_buffer.area_m2
        + 2 * tile_accumulator.area_m2 + lif.area_m2 + pooling.area_m2
        + chip.technology.router_m2.value
    )  # fmt: skip
    return _Parts(
        crossbar=crossbar, pe_buffer=pe_buffer, tile_buffer=tile_buffer,
        global_buffer=Sram.of(chip, chip.chip.global_buffer_bytes),
        membranes=Sram.of(chip, chip.lif.membrane_memory_bytes),
        currents=Sram.of(chip, current_memory_bytes(chip)),
        pe_accumulator=pe_accumulator, tile_accumulator=tile_accumulator, lif=lif, pooling=pooling,
        pe_htree=pe_htree, tile_htree=tile_htree, mesh=Mesh.of(chip, tile_m2),
    )  # fmt: skip


def current_memory_bytes(chip: Chip) -> int:
    """The memory of first-layer currents is only built where they are kept."""
    return chip.dataflow.current_memory_bytes if chip.dataflow.first_layer == "once" else 0


def _prices(chip: Chip, parts: _Parts) -> tuple[Price, ...]:
    cell = parts.crossbar
    # Sums move under positive and negative columns alike; widths are in the counts.
    return tuple(
        Price(action, component, energy)
        for action, component, energy in (
            ("row_activation", "crossbar", cell.wordline_j + cell.pedestal_j),
            ("cell_conductance", "crossbar", cell.conductance_j),
            ("crossbar_read", "input_switch", cell.switch_clock_j),
            ("row_activation", "input_switch", cell.switch_drive_j),
            ("crossbar_read", "column_mux", cell.mux_j),
            ("crossbar_read", "adc", cell.adc_idle_j),
            ("busy_read", "adc", cell.adc_busy_j),
            ("shift_add", "shift_add", cell.shift_add_j),
            ("popcount_bit", "accumulators", parts.pe_accumulator.popcount_bit_j),
            ("pe_add_bit", "accumulators", parts.pe_accumulator.add_bit_j),
            ("tile_add_bit", "accumulators", parts.tile_accumulator.add_bit_j),
            ("global_add_bit", "accumulators", parts.tile_accumulator.add_bit_j),
            ("pe_buffer_write_bit", "buffers", parts.pe_buffer.write_bit_j),
            ("pe_buffer_read_bit", "buffers", parts.pe_buffer.read_bit_j),
            ("tile_buffer_write_bit", "buffers", parts.tile_buffer.write_bit_j),
            ("tile_buffer_read_bit", "buffers", parts.tile_buffer.read_bit_j),
            ("global_buffer_write_bit", "buffers", parts.global_buffer.write_bit_j),
            ("global_buffer_read_bit", "buffers", parts.global_buffer.read_bit_j),
            ("current_write_bit", "buffers", parts.currents.write_bit_j),
            ("current_read_bit", "buffers", parts.currents.read_bit_j),
            ("pe_htree_bit", "htree", parts.pe_htree.bit_j),
            ("tile_htree_bit", "htree", parts.tile_htree.bit_j),
            ("router_bit", "noc", parts.mesh.router_bit_j),
            ("link_bit", "noc", parts.mesh.link_bit_j),
            ("lif_update", "lif", parts.lif.update_j),
            ("membrane_read_bit", "lif", parts.membranes.read_bit_j),
            ("membrane_write_bit", "lif", parts.membranes.write_bit_j),
            ("pool", "pooling", parts.pooling.output_j),
            ("image_load_bit", "image_load", chip.technology.image_load_bit_j.value),
        )
    )


def _built(chip: Chip, parts: _Parts) -> tuple[dict[str, float], dict[str, float]]:
    """Area and leakage by component."""
    tiles = chip.tiles
    pes = tiles * chip.tile.pes
    crossbars = pes * chip.pe.crossbars
    area = {name: crossbars * value for name, value in parts.crossbar.area_m2.items()}
    area |= {
        "accumulators": pes * parts.pe_accumulator.area_m2
        + 2 * tiles * parts.tile_accumulator.area_m2,
        "buffers": pes * parts.pe_buffer.area_m2 + tiles * parts.tile_buffer.area_m2
        + parts.global_buffer.area_m2 + parts.currents.area_m2,
        "htree": pes * parts.pe_htree.area_m2 + tiles * parts.tile_htree.area_m2,
        "noc": tiles * parts.mesh.router_m2,
        "lif": tiles * parts.lif.area_m2 + parts.membranes.area_m2,
        "pooling": tiles * parts.pooling.area_m2,
    }  # fmt: skip
    leakage = {
        "crossbar": crossbars * parts.crossbar.leakage_w,
        "accumulators": pes * parts.pe_accumulator.leakage_w
        + 2 * tiles * parts.tile_accumulator.leakage_w,
        "buffers": pes * parts.pe_buffer.leakage_w + tiles * parts.tile_buffer.leakage_w
        + parts.global_buffer.leakage_w + parts.currents.leakage_w,
        "noc": tiles * parts.mesh.router_leakage_w,
        "lif": tiles * parts.lif.leakage_w + parts.membranes.leakage_w,
    }  # fmt: skip
    return area, leakage
