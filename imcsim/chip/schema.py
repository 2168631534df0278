"""What an architecture file may say: every key with its type, unit, range and meaning.

The classes are frozen and strict; `Chip` is what every other floor reads. Keys carry their unit as
a suffix (``_ohm``, ``_hz``, ``_bytes``, ``_v``); values are plain SI numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from imcsim.chip.technology import Technology
from imcsim.config.check import Conflict
from imcsim.config.layout import Section
from imcsim.config.messages import plain_text
from imcsim.config.yaml_positions import dotted

Count = Annotated[int, Field(ge=1, le=1 << 20)]
PlainText = Annotated[str, AfterValidator(plain_text)]
MeshSide = Annotated[int, Field(ge=1, le=1024)]
Bytes = Annotated[int, Field(ge=1, le=1 << 40)]


class ChipLevel(Section):
    """The chip around the tiles."""

    clock_hz: float = Field(ge=1e3, le=1e11)
    vdd_v: float = Field(gt=0, le=5)
    """Must be the supply voltage of the technology, whose values are not scaled."""
    mesh_columns: MeshSide
    """Width of the tile mesh; all mesh_columns × mesh_rows tiles are built, used or not."""
    mesh_rows: MeshSide
    global_buffer_bytes: Bytes
    accumulation: Literal["home_tile"]
    """Where partial sums of several tiles meet, LIF and pooling happen: the layer's first tile."""
    io_bits: Count
    """Width of the chip's input port: bits of an image loaded per cycle."""


class TileLevel(Section):
    """One tile: PEs under an H-tree, an accumulator and a buffer."""

    pes: Count
    buffer_bytes: Bytes
    htree_bits: Count
    """Width of the H-tree's root link: bits moved between the tile and its PEs per cycle."""
    accumulator_lanes: Count
    """Partial sums added per cycle; the global accumulator of a home tile has as many lanes."""


class PeLevel(Section):
    """One processing element: crossbars under an H-tree, an accumulator and a buffer."""

    crossbars: Count
    buffer_bytes: Bytes
    htree_bits: Count
    accumulator_lanes: Count


class Crossbar(Section):
    """The array and its drivers."""

    rows: int = Field(ge=1, le=4096)
    cols: int = Field(ge=1, le=4096)
    read_v: float = Field(gt=0, le=5)
    settle_s: float = Field(gt=0, le=1)
    """Time from the start of a read to the first conversion: drivers, decoder, bit lines."""
    skip: Literal["none"]
    """Reads whose inputs are all zero are made anyway."""


class Device(Section):
    """The memory cell."""

    type: Literal["rram"]
    bits: int = Field(ge=1, le=8)
    r_on_ohm: float = Field(ge=1, le=1e12)
    on_off_ratio: float = Field(gt=1, le=1e9)
    variation: float = Field(ge=0, le=1)
    """σ/μ of programming; drawn once per chip."""
    variation_model: Literal["weight", "device"]
    """`weight`: the stored 8-bit weight is perturbed, cells are exact (the paper's Fig. 6(B));
    `device`: every cell's conductance is, those at R_off too."""


class Adc(Section):
    """The converter behind each group of columns."""

    type: Literal["sar"]
    bits: int = Field(ge=1, le=12)
    columns_per_adc: Count
    percentile: float = Field(gt=0, le=100)
    """Full scale: this percentile of the column sums of the calibration images, the largest over
    row blocks, per layer and weight slice."""
    calibration_images: Count


class MappingRules(Section):
    """How signed weights become cells."""

    signed_weights: Literal["offset", "differential"]
    """`offset`: w + 128, corrected by the popcount of the inputs;
    `differential`: positive and negative cells."""
    row_order: Literal["channel"]


class Lif(Section):
    """The neuron unit of a home tile and the memory of its potentials."""

    membrane_bits: int = Field(ge=4, le=64)
    membrane_memory_bytes: Bytes
    """Capacity of the whole chip's membrane memory."""
    lanes: Count
    """Neurons updated per cycle."""


class Noc(Section):
    """The mesh between tiles."""

    model: Literal["packet"]
    """Packets reserve one link after the other along the XY route."""
    flit_bits: Count
    router_cycles: Count
    """Cycles of a packet's head through a router and its link."""


class SigmaE(Section):
    """The module that turns class scores into an exit decision."""

    sigma_lut_bytes: Bytes
    entropy_lut_bytes: Bytes
    word_bits: Literal[16]
    fifo_depth: Count
    """Largest number of classes."""
    lut_s: float = Field(gt=0, le=1)
    """Time of one look-up."""


class Dataflow(Section):
    """What runs at the same time."""

    layers: Literal["overlapped", "sequential"]
    timesteps: Literal["sequential"]
    first_layer: Literal["every_timestep", "once"]
    """`once`: the currents of a static image are kept in `current_memory_bytes` and reused."""
    current_memory_bytes: Bytes


class Heading(Section):
    """What stands above the sections."""

    name: PlainText = Field(min_length=1, pattern=r"^[^\n\t]+$")
    description: PlainText = ""


class Chip(Heading):
    """A validated hardware description."""

    technology: Technology
    chip: ChipLevel
    tile: TileLevel
    pe: PeLevel
    crossbar: Crossbar
    device: Device
    adc: Adc
    mapping: MappingRules
    lif: Lif
    noc: Noc
    sigma_e: SigmaE
    dataflow: Dataflow

    @model_validator(mode="after")
    def _sections_agree(self) -> Chip:
        faults = [f"{dotted(c.keys[0])}: {c.message}" for c in conflicts(vars(self))]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def tiles(self) -> int:
        """Tiles that are built."""
        return self.chip.mesh_columns * self.chip.mesh_rows

    @property
    def adcs_per_crossbar(self) -> int:
        """Converters of one crossbar; the last one may serve fewer columns."""
        return -(-self.crossbar.cols // self.adc.columns_per_adc)

    @property
    def cells_per_weight(self) -> int:
        """Neighbouring columns that hold one signed 8-bit weight."""
        return cells_per_weight(self.device.bits, self.mapping.signed_weights)

    @property
    def g_on_s(self) -> float:
        """Conductance of the highest level [S]."""
        return 1.0 / self.device.r_on_ohm

    @property
    def g_off_s(self) -> float:
        """Conductance of level 0 [S]."""
        return 1.0 / (self.device.r_on_ohm * self.device.on_off_ratio)

    @property
    def level_s(self) -> float:
        """Conductance of one level step [S]; levels are linear between R_off and R_on."""
        return (self.g_on_s - self.g_off_s) / ((1 << self.device.bits) - 1)


def cells_per_weight(cell_bits: int, signed_weights: str) -> int:
    """Cells of one 8-bit weight: ⌈8 / bits⌉ with an offset, 2·⌈7 / bits⌉ if differential."""
    if signed_weights == "differential":
        return 2 * -(-7 // cell_bits)
    return -(-8 // cell_bits)


def conflicts(sections: Mapping[str, object]) -> Iterator[Conflict]:
    """Faults between sections; those of which a section is missing or invalid are passed over."""
    chip, technology = sections.get("chip"), sections.get("technology")
    if isinstance(chip, ChipLevel) and isinstance(technology, Technology):
        yield from _supply_conflicts(chip, technology)
    crossbar = sections.get("crossbar")
    if isinstance(crossbar, Crossbar):
        yield from _crossbar_conflicts(crossbar, sections)


def _supply_conflicts(chip: ChipLevel, technology: Technology) -> Iterator[Conflict]:
    supply = technology.supply_v.value
    if not math.isclose(chip.vdd_v, supply, rel_tol=1e-9):
        yield Conflict(
            (("chip", "vdd_v"), ("technology", "supply_v")),
            f"must be {supply:g}, the supply voltage of technology {technology.name}"
            f" (got {chip.vdd_v:g}): its values are not scaled to other voltages",
        )


def _crossbar_conflicts(crossbar: Crossbar, sections: Mapping[str, object]) -> Iterator[Conflict]:
    adc, chip = sections.get("adc"), sections.get("chip")
    if isinstance(adc, Adc) and adc.columns_per_adc > crossbar.cols:
        yield Conflict(
            (("adc", "columns_per_adc"), ("crossbar", "cols")),
            f"must be at most crossbar.cols, {crossbar.cols} (got {adc.columns_per_adc})",
        )
    if isinstance(chip, ChipLevel) and crossbar.read_v > chip.vdd_v:
        yield Conflict(
            (("crossbar", "read_v"), ("chip", "vdd_v")),
            f"must be at most chip.vdd_v, {chip.vdd_v:g} (got {crossbar.read_v:g})",
        )
    device, mapping = sections.get("device"), sections.get("mapping")
    if not isinstance(device, Device) or not isinstance(mapping, MappingRules):
        return
    cells = cells_per_weight(device.bits, mapping.signed_weights)
    if crossbar.cols < cells:
        yield Conflict(
            (("crossbar", "cols"), ("device", "bits"), ("mapping", "signed_weights")),
            f"must be at least {cells}, the cells of one 8-bit weight with device.bits"
            f" {device.bits} and mapping.signed_weights {mapping.signed_weights}"
            f" (got {crossbar.cols})",
        )
