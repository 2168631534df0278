"""A validated architecture: what an architecture file says, and what follows from it.

The classes are frozen and strict; `Chip` is what every other floor reads.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from imcsim.chip.conflicts import conflicts
from imcsim.chip.sections import (
    Adc,
    ChipLevel,
    Correction,
    Crossbar,
    Dataflow,
    Device,
    Lif,
    MappingRules,
    Noc,
    PeLevel,
    PlainText,
    SigmaE,
    TileLevel,
    cells_per_weight,
    slices_per_weight,
)
from imcsim.chip.technology import Technology
from imcsim.config.layout import Section
from imcsim.config.yaml_positions import dotted


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
    correction: Correction = Correction()

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
        return -(-self.conversions_per_read // self.conversions_per_adc)

    @property
    def cells_per_weight(self) -> int:
        """Cells that hold one signed weight."""
        return cells_per_weight(self.device.bits, self.mapping)

    @property
    def slices_per_weight(self) -> int:
        """Parts that a weight's bits are cut into; a differential one has two cells for each."""
        return slices_per_weight(self.device.bits, self.mapping)

    @property
    def rows_per_read(self) -> int:
        """Word lines driven at once."""
        return min(self.crossbar.rows_per_read or self.crossbar.rows, self.crossbar.rows)

    @property
    def conversions_per_read(self) -> int:
        """Codes of one read of a crossbar: one per column, or per pair subtracted as currents."""
        return -(-self.crossbar.cols // self._columns_per_conversion)

    @property
    def conversions_per_adc(self) -> int:
        """Codes that one converter delivers in a read, one after the other."""
        return -(-self.adc.columns_per_adc // self._columns_per_conversion)

    @property
    def _columns_per_conversion(self) -> int:
        return 2 if self.mapping.subtract == "analog" else 1

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
