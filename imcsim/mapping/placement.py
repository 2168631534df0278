"""Which layer lies on which crossbars, PEs, tiles and mesh nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.errors import MappingError
from imcsim.mapping.slicing import Slicing, check_weights, slicing_of
from imcsim.mapping.word_lines import matrix_rows, row_starts
from imcsim.network.layers import IMAGE, Layer, Network

LOGIT_BITS = 32
"""Width of an accumulated class score on its way to the σ-E module."""


@dataclass(frozen=True, eq=False)
class LayerMapping:
    """One layer's crossbars, counted from 0 within the layer.

    Crossbars are numbered down the row blocks first (``crossbar = (column block · arrays per weight
    + array) · row blocks + row block``), so that neighbours in a PE add up to the same outputs.
    """

    index: int
    """Position of the layer in the network."""
    layer: Layer
    rows: int
    """Word lines in all: k_h·k_w·c_in."""
    row_order: str
    """Order of the word lines; see `imcsim.mapping.word_lines`."""
    row_starts: tuple[int, ...]
    """First word line of every row block, ascending."""
    col_blocks: int
    weights_per_crossbar: int
    """Weights (or slices of them) side by side on one crossbar: ⌊columns / columns of one⌋, less
    one for a reference column."""
    arrays_per_weight: int
    """Crossbars over which a weight is spread: 1, or one for each of its slices."""
    crossbar_rows: int
    rows_per_read: int
    """Word lines driven at once."""
    crossbars_per_pe: int
    pes_per_tile: int
    first_tile: int
    """Home tile: where the partial sums of the layer meet and its neurons live."""
    cells_per_weight: int
    crossbar_cells: int
    largest_weight: int

    @property
    def row_blocks(self) -> int:
        return len(self.row_starts)

    @property
    def crossbars_per_row_block(self) -> int:
        """Crossbars that see the same inputs."""
        return self.col_blocks * self.arrays_per_weight

    @property
    def crossbars(self) -> int:
        return self.row_blocks * self.crossbars_per_row_block

    @property
    def block_rows(self) -> npt.NDArray[np.int64]:
        """int64 (row blocks,): word lines in use."""
        return np.diff((*self.row_starts, self.rows))

    @cached_property
    def matrix_rows(self) -> npt.NDArray[np.int64]:
        """int64 (rows,): row of the layer's matrix on each word line."""
        return matrix_rows(self.layer, self.row_order)

    @cached_property
    def reads_per_bit(self) -> int:
        """Reads of a crossbar for one input bit: groups of `rows_per_read` word lines. The
        crossbars of a layer step together, so a last one with fewer rows has idle reads."""
        return -(-int(self.block_rows.max()) // self.rows_per_read)

    @property
    def pes(self) -> int:
        return -(-self.crossbars // self.crossbars_per_pe)

    @property
    def tiles(self) -> int:
        return -(-self.pes // self.pes_per_tile)

    @property
    def positions(self) -> int:
        """Output positions (windows) of one timestep."""
        return self.layer.output_shape[1] * self.layer.output_shape[2]

    @property
    def c_out(self) -> int:
        return self.layer.output_shape[0]

    @property
    def reads(self) -> int:
        """Crossbar reads of one timestep: windows × crossbars × serial input bits × groups of
        rows."""
        return self.reads_one_bit * self.layer.input_bits

    @property
    def reads_one_bit(self) -> int:
        """The same if every input were one bit wide."""
        return self.positions * self.crossbars * self.reads_per_bit

    @property
    def utilisation(self) -> float:
        """Share of the cells of its crossbars that hold a weight."""
        used = self.rows * self.c_out * self.cells_per_weight
        return used / (self.crossbars * self.crossbar_cells)

    @cached_property
    def partial_sum_bits(self) -> int:
        """Width that holds any sum of the layer exactly: Σ |w|·|x| ≤ rows·max|w|·max|x|, plus the
        sign."""
        largest = max(-self.layer.input_min, self.layer.input_max)
        return (self.rows * self.largest_weight * largest).bit_length() + 1

    @cached_property
    def pe_of_crossbar(self) -> npt.NDArray[np.int64]:
        """int64 (crossbars,): PE within the layer."""
        return np.arange(self.crossbars) // self.crossbars_per_pe

    @cached_property
    def tile_of_pe(self) -> npt.NDArray[np.int64]:
        """int64 (pes,): tile within the layer."""
        return np.arange(self.pes) // self.pes_per_tile

    @cached_property
    def pe_outputs(self) -> npt.NDArray[np.int64]:
        """int64 (pes,): partial sums that a PE hands on per window."""
        return self._outputs(self.pe_of_crossbar, self.pes)

    @cached_property
    def tile_outputs(self) -> npt.NDArray[np.int64]:
        """int64 (tiles,): partial sums that a tile hands on per window."""
        return self._outputs(self.tile_of_pe[self.pe_of_crossbar], self.tiles)

    @cached_property
    def pe_rows(self) -> npt.NDArray[np.int64]:
        """int64 (pes,): distinct word-line inputs that a PE needs per window."""
        row_block = np.arange(self.crossbars) % self.row_blocks
        wanted = np.zeros((self.pes, self.row_blocks), np.int64)
        wanted[self.pe_of_crossbar, row_block] = self.block_rows[row_block]
        distinct: npt.NDArray[np.int64] = wanted.sum(axis=1)
        return distinct

    @cached_property
    def crossbar_outputs(self) -> npt.NDArray[np.int64]:
        """int64 (crossbars,): weights side by side, each with a sum per window."""
        first = self._col_block * self.weights_per_crossbar
        return np.minimum(self.weights_per_crossbar, self.c_out - first)

    @property
    def _col_block(self) -> npt.NDArray[np.int64]:
        return np.arange(self.crossbars) // (self.row_blocks * self.arrays_per_weight)

    def _outputs(
        self, group_of_crossbar: npt.NDArray[np.int64], groups: int
    ) -> npt.NDArray[np.int64]:
        wanted = np.zeros((groups, self.col_blocks), np.int64)
        wanted[group_of_crossbar, self._col_block] = self.crossbar_outputs
        sums: npt.NDArray[np.int64] = wanted.sum(axis=1)
        return sums


@dataclass(frozen=True, eq=False)
class Mapping:
    """A network on a chip."""

    chip: Chip
    network: Network
    slicing: Slicing
    layers: tuple[LayerMapping, ...]
    """Weight layers in network order."""

    @property
    def crossbars(self) -> int:
        return sum(m.crossbars for m in self.layers)

    @property
    def tiles(self) -> int:
        """Tiles that hold weights; `Chip.tiles` are built."""
        return sum(m.tiles for m in self.layers)

    @property
    def reads(self) -> int:
        """Crossbar reads per timestep."""
        return sum(m.reads for m in self.layers)

    @cached_property
    def _by_layer(self) -> dict[int, LayerMapping]:
        return {m.index: m for m in self.layers}

    def of(self, layer: int) -> LayerMapping:
        """Mapping of the weight layer with this network index."""
        return self._by_layer[layer]

    def home(self, layer: int) -> int:
        """Tile where a layer's output appears: a pool works in its source's home tile; the image
        comes from tile 0, the node of the global buffer's port."""
        while layer != IMAGE and self.network.layers[layer].is_pool:
            layer = self.network.layers[layer].source
        return 0 if layer == IMAGE else self.of(layer).first_tile

    def keeps_currents(self, index: int) -> bool:
        """Whether a layer's crossbars are read once per image and its currents kept
        (``dataflow.first_layer: once``)."""
        return self.chip.dataflow.first_layer == "once" and self.network.sees_static_image(index)

    def output_bits(self, index: int) -> int:
        """Width of one output of a layer that another one adds to its own: a sum, or a spike."""
        return self.of(index).partial_sum_bits if self.network.layers[index].sends_sums else 1

    @property
    def image_bits(self) -> int:
        """Bits of one image, or one frame of events, as it is loaded and fed."""
        return int(np.prod(self.network.image_shape)) * self.network.layers[0].input_bits

    def node(self, tile: int) -> tuple[int, int]:
        """Mesh coordinates (x, y) of a tile; rows run to and fro, so that consecutive tiles are
        neighbours."""
        y, x = divmod(tile, self.chip.chip.mesh_columns)
        return (x if y % 2 == 0 else self.chip.chip.mesh_columns - 1 - x), y

    def hops(self, source: int, target: int) -> int:
        """Links of the XY route between two tiles."""
        (x0, y0), (x1, y1) = self.node(source), self.node(target)
        return abs(x0 - x1) + abs(y0 - y1)


def map_network(network: Network, chip: Chip) -> Mapping:
    """Place every weight layer on whole tiles, in order.

    Rows are cut every `crossbar.rows` word lines, columns into whole weights (with
    ``mapping.slices: separate``, into whole slices of one significance); a layer starts at a new
    tile, as in NeuroSim and in the paper's Sec. III-B.

    Raises
    ------
    MappingError
        If weight bits, tiles, membrane width, membrane memory, current memory or FIFOs do not
        suffice; the line says by how much.
    """
    slicing = slicing_of(chip)
    check_weights(network, slicing)
    placed: list[LayerMapping] = []
    tile = 0
    for index in network.weight_layers:
        placed.append(_place(index, network.layers[index], chip, slicing, tile))
        tile += placed[-1].tiles
    result = Mapping(chip=chip, network=network, slicing=slicing, layers=tuple(placed))
    _check_fit(result)
    return result


def _place(index: int, layer: Layer, chip: Chip, slicing: Slicing, first_tile: int) -> LayerMapping:
    """One layer on crossbars of its own, from `first_tile` on."""
    arrays = slicing.slices if chip.mapping.slices == "separate" else 1
    weights = chip.crossbar.cols // (len(slicing.planes) // arrays) - slicing.has_reference
    order = chip.mapping.row_order
    return LayerMapping(
        index=index,
        layer=layer,
        rows=layer.matrix.shape[0],
        row_order=order,
        row_starts=row_starts(layer, order, chip.crossbar.rows),
        col_blocks=-(-layer.output_shape[0] // weights),
        weights_per_crossbar=weights,
        arrays_per_weight=arrays,
        crossbar_rows=chip.crossbar.rows,
        rows_per_read=chip.rows_per_read,
        crossbars_per_pe=chip.pe.crossbars,
        pes_per_tile=chip.tile.pes,
        first_tile=first_tile,
        cells_per_weight=len(slicing.planes),
        crossbar_cells=chip.crossbar.rows * chip.crossbar.cols,
        largest_weight=slicing.largest_weight,
    )


def line_buffer_bytes(layer: Layer) -> int:
    """Bytes of input a tile keeps while windows slide in raster order: k_h − 1 lines and k_w
    pixels."""
    _, height, width = layer.input_shape
    k_h, k_w = layer.window
    pixels = min((k_h - 1) * width + k_w, height * width)
    return pixels * pixel_bytes(layer)


def pixel_bytes(layer: Layer) -> int:
    """Bytes of one input position with all its channels."""
    return -(-layer.input_shape[0] * layer.input_bits // 8)


def _check_fit(mapping: Mapping) -> None:
    chip, network = mapping.chip, mapping.network
    _check_tiles(mapping)
    if network.neuron.membrane_bits > chip.lif.membrane_bits:
        raise MappingError(
            f"{network.name} needs {network.neuron.membrane_bits}-bit membranes, {chip.name} has "
            f"{chip.lif.membrane_bits} bits (raise lif.membrane_bits or quantise the network again)"
        )
    neurons = sum(layer.neurons for layer in network.layers)
    membrane_bytes = -(-neurons * chip.lif.membrane_bits // 8)
    _check_bytes("lif.membrane_memory_bytes", membrane_bytes, chip.lif.membrane_memory_bytes,
                 f"the {neurons:,} membranes of {network.name}")  # fmt: skip
    if chip.dataflow.first_layer == "once":
        _check_bytes("dataflow.current_memory_bytes", first_current_bytes(mapping),
                     chip.dataflow.current_memory_bytes, "the first layer's currents")  # fmt: skip
    if network.classes > chip.sigma_e.fifo_depth:
        raise MappingError(
            f"{network.name} has {network.classes} classes, the σ-E module's FIFOs hold "
            f"{chip.sigma_e.fifo_depth} (raise sigma_e.fifo_depth)"
        )
    for placed in mapping.layers:
        _check_bytes("tile.buffer_bytes", line_buffer_bytes(placed.layer), chip.tile.buffer_bytes,
                     f"the input lines of layer {placed.layer.name}")  # fmt: skip
        window = -(-int(placed.pe_rows.max()) * placed.layer.input_bits // 8)
        _check_bytes("pe.buffer_bytes", window, chip.pe.buffer_bytes,
                     f"one input window of layer {placed.layer.name}")  # fmt: skip
    image = -(-mapping.image_bits // 8)
    _check_bytes("chip.global_buffer_bytes", image, chip.chip.global_buffer_bytes, "one image")


def crossbar_sum_bits(mapping: Mapping, placed: LayerMapping) -> int:
    """Width of a sum that leaves a crossbar's shift-and-add: codes over all its slices, input bits
    and groups of rows, and a sign. Slices in separate crossbars are shifted where they are
    added."""
    slicing, layer = mapping.slicing, placed.layer
    shifts = {plane.shift for plane in slicing.planes}
    factors = sum(1 << shift for shift in shifts) if placed.arrays_per_weight == 1 else 1
    largest = largest_code(mapping) * factors
    largest *= ((1 << layer.input_bits) - 1) * placed.reads_per_bit
    signed_codes = slicing.signed_weights != "offset"
    return largest.bit_length() + (layer.input_signed or signed_codes)


def largest_code(mapping: Mapping) -> int:
    """Largest ADC code: 2^bits − 1; one bit less where codes have a sign."""
    bits = mapping.chip.adc.bits - mapping.slicing.subtracts_currents
    return (1 << bits) - 1


def first_current_bytes(mapping: Mapping) -> int:
    """Bytes that keep the currents of all layers that read a static image, at the membranes'
    width."""
    network = mapping.network
    kept = sum(m.positions * m.c_out for m in mapping.layers if network.sees_static_image(m.index))
    return -(-kept * mapping.chip.lif.membrane_bits // 8)


def _check_tiles(mapping: Mapping) -> None:
    built, used = mapping.chip.tiles, 0
    for placed in mapping.layers:
        if used + placed.tiles > built:
            raise MappingError(
                f"layer {placed.layer.name} needs {placed.tiles} "
                f"tile{'' if placed.tiles == 1 else 's'}, "
                f"{built - used} of {built} are left on {mapping.chip.name}; "
                f"{mapping.network.name} needs {mapping.tiles} in all "
                "(raise chip.mesh_columns or chip.mesh_rows)"
            )
        used += placed.tiles


def _check_bytes(key: str, needed: int, available: int, what: str) -> None:
    if needed > available:
        raise MappingError(f"no room for {what}: {needed:,} bytes needed, {key} is {available:,}")
