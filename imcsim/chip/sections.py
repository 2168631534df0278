"""The sections of an architecture file: every key with its type, unit, range and meaning.

Keys carry their unit as a suffix (``_ohm``, ``_hz``, ``_bytes``, ``_v``); values are plain SI
numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from imcsim.chip.nonidealities import NonIdeality, Programming
from imcsim.config.layout import Section
from imcsim.config.messages import plain_text

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
    rows_per_read: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Most word lines driven at once; a read of more is split into groups of so many neighbouring
    rows, each converted by itself. Left out: all rows."""


class Device(Section):
    """The memory cell."""

    type: Literal["rram"]
    bits: int = Field(ge=1, le=8)
    r_on_ohm: float = Field(ge=1, le=1e12)
    on_off_ratio: float = Field(gt=1, le=1e9)
    variation: float = Field(ge=0, le=1)
    """σ/μ of programming; drawn once per chip."""
    variation_model: Literal["weight", "device"]
    """`weight`: the stored weight is perturbed, cells are exact (the paper's Fig. 6(B));
    `device`: every cell's conductance is, those at R_off too."""
    off_current: Literal["corrected", "digital", "uncorrected"] = "corrected"
    """Current of R_off in every cell of an active row, (2^bits − 1) / (on_off_ratio − 1) levels.
    `corrected`: an ideal dummy column takes it off before the converter; `digital`: it goes through
    the converter, and its nominal value is subtracted from the sum, not quantised; `uncorrected`:
    nothing is subtracted."""
    conductances: PlainText | None = None
    """An ``.npz`` with every cell's conductance, instead of programming (format:
    `imcsim.functional.conductances`); its path from the architecture file."""
    cells: Literal["float32", "eighths", "sixteenths"] = "float32"
    """What conductances are kept as, where they are no whole levels. `float32`: as they are;
    `eighths`, `sixteenths`: rounded to that part of a level, so that integers can read them, about
    twice as fast (docs/performance.md)."""
    nonidealities: tuple[NonIdeality, ...] = ()
    """What else keeps cells from being ideal, each model at most once (docs/devices.md)."""

    @property
    def models(self) -> tuple[NonIdeality, ...]:
        """All non-idealities: `variation` is short for an entry with model programming."""
        if self.variation == 0:
            return self.nonidealities
        programming = Programming(
            model="programming",
            spread="proportional",
            sigma=self.variation,
            granularity=self.variation_model,
        )
        return (*self.nonidealities, programming)


class Adc(Section):
    """The converter behind each group of columns."""

    type: Literal["sar"]
    bits: int = Field(ge=1, le=12)
    columns_per_adc: Count
    percentile: float = Field(gt=0, le=100)
    """Calibrated full scale: this percentile of the column sums of the calibration images, the
    largest over row blocks, per layer and weight slice."""
    calibration_images: Count
    range: Literal["calibrated", "formula", "fixed", "lossless"] = "calibrated"
    """Full scale. `calibrated`: see `percentile`; `formula`: rows_per_read · highest level, what a
    column can reach; `fixed`: `step_levels` per code; `lossless`: one level per code, refused where
    `bits` do not suffice."""
    step_levels: Annotated[float, Field(ge=1 / 16, le=1 << 16)] | None = None
    """With range fixed: what one code is worth, in cell levels; a multiple of 1/16."""
    rounding: Literal["nearest", "down"] = "nearest"
    """`nearest`: to the nearest code, half-way cases up (of signed codes: away from 0);
    `down`: to the next code below (towards 0), a converter without half-step offset."""
    offset_sigma_levels: float = Field(default=0.0, ge=0, le=1e4)
    """σ of the converters' offsets, in cell levels; one draw per converter and chip."""
    gain_sigma: float = Field(default=0.0, ge=0, le=1)
    """σ of the converters' gain errors, a fraction; one draw per converter and chip."""
    noise_sigma_levels: float = Field(default=0.0, ge=0, le=1e4)
    """σ of what every conversion adds to its current, in cell levels; drawn anew each time."""


class MappingRules(Section):
    """How signed weights become cells, and where these stand."""

    signed_weights: Literal["offset", "offset_column", "differential"]
    """`offset`: w + 2^(weight_bits − 1), corrected by the popcount of the inputs;
    `offset_column`: the same, corrected by a column of the same crossbar that holds weights of 0;
    `differential`: positive and negative cells."""
    row_order: Literal["channel", "flat", "position"]
    """Word lines of a layer's matrix, cut every crossbar.rows. `channel`: (ky·k_w + kx)·c_in + c;
    `flat`: (c·k_h + ky)·k_w + kx, im2col's order; `position`: as `channel`, and each kernel
    position begins a new crossbar."""
    subtract: Literal["digital", "analog"] = "digital"
    """Differential pairs. `digital`: each column is converted, codes are subtracted; `analog`: the
    difference of the currents is, to codes −(2^(adc.bits − 1) − 1)..2^(adc.bits − 1) − 1."""
    weight_bits: int = Field(default=8, ge=2, le=8)
    """Weights are −(2^(weight_bits − 1) − 1)..2^(weight_bits − 1) − 1."""
    slices: Literal["adjacent", "separate"] = "adjacent"
    """Cells of one weight: in neighbouring columns, or each slice in a crossbar of its own."""


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


class Correction(Section):
    """What is set anew for one chip, from the workload's calibration images, before it is used.

    Neither costs an inference anything: thresholds and biases are registers that are there anyway.
    """

    channels: bool = False
    """Gain and offset of every output channel, found by regression against exact accumulators and
    folded into the neurons' thresholds and biases; the classifier loses its mean error."""
    theta: bool = False
    """The exit threshold: fewest timesteps at this chip's own accuracy with all of them. A
    threshold given for a run (--theta) is used as it is."""
    images: Count | None = None
    """First calibration images to use. Left out: all."""


def slices_per_weight(cell_bits: int, rules: MappingRules) -> int:
    """⌈stored bits / cell bits⌉: all weight bits with an offset, all but the sign if
    differential."""
    stored = rules.weight_bits - (rules.signed_weights == "differential")
    return -(-stored // cell_bits)


def cells_per_weight(cell_bits: int, rules: MappingRules) -> int:
    """Cells of one weight: one for each slice, two if differential."""
    signs = 2 if rules.signed_weights == "differential" else 1
    return signs * slices_per_weight(cell_bits, rules)


def columns_needed(cell_bits: int, rules: MappingRules) -> int:
    """Columns of the narrowest crossbar that holds a weight (or a slice of it) with its reference
    column."""
    columns = cells_per_weight(cell_bits, rules)
    if rules.slices == "separate":
        columns //= slices_per_weight(cell_bits, rules)
    return 2 * columns if rules.signed_weights == "offset_column" else columns
