"""One timestep of a mapped network as a task graph.

Per layer, in the order of the data: input positions travel from the source's home tile over the
mesh into every tile's line buffer; each PE loads its part of each window; crossbars are read bit by
bit, their columns converted through the multiplexers, shifted and added; sums climb PE, tile and
mesh to the home tile, where neurons and pools work. Durations are at least one cycle; what takes
less is part of its neighbour.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.hardware.adc import conversion_cycles
from imcsim.hardware.clock import cycles_of
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.placement import LOGIT_BITS, crossbar_sum_bits, pixel_bytes
from imcsim.mapping.windows import first_and_last_window
from imcsim.network.layers import IMAGE
from imcsim.timing.graph import GraphBuilder, Ids, TaskGraph


def timestep_graph(mapping: Mapping, reuse_first_currents: bool = False) -> TaskGraph:
    """Build the graph of one timestep.

    Parameters
    ----------
    mapping : the network on the chip.
    reuse_first_currents : the first layer's currents come from their memory
    (``dataflow.first_layer: once``,
        second and later timesteps) instead of the crossbars.
    """
    return _TimestepGraph(mapping, reuse_first_currents).build()


class _TimestepGraph:
    """Resources that layers share, and the outputs each layer offers to the next."""

    def __init__(self, mapping: Mapping, reuse_first_currents: bool):
        self.mapping, self.chip = mapping, mapping.chip
        self.reuse = reuse_first_currents
        self.graph = GraphBuilder()
        tiles = self.chip.tiles
        self.controller = self.graph.resources("controller", 1)
        self.global_buffer = self.graph.resources("global_buffer", 1)
        self.links = self.graph.resources("noc", 4 * tiles)
        self.current_memory = self.graph.resources("current_memory", 1)
        self.lif = self.graph.resources("lif", tiles)
        self.pooling = self.graph.resources("pooling", tiles)
        self.global_accumulator = self.graph.resources("global_accumulator", tiles)
        self.outputs: dict[int, Ids] = {}
        self.gate: int | None = None

    def build(self) -> TaskGraph:
        network = self.mapping.network
        for index, layer in enumerate(network.layers):
            if self.chip.dataflow.layers == "sequential" and index:
                self.close_gate(index)
            if layer.is_pool:
                self.pool(index)
            else:
                self.weight_layer(index)
        self.readout(len(network.layers) - 1)
        return self.graph.build()

    def close_gate(self, index: int) -> None:
        """Layer by layer: nothing of layer `index` starts before all outputs of the layer before
        are there."""
        gate = self.graph.tasks(index, self.controller, 1, (1,))
        self.graph.edges(self.outputs[index - 1], gate[0])
        self.gate = int(gate[0])

    def after_gate(self, ids: Ids) -> None:
        """Sequential layers: `ids` wait for the gate, which waited for all layers before."""
        if self.gate is not None:
            self.graph.edges(self.gate, ids)

    def gated(self, known: Ids) -> Ids:
        """Sequential layers: outputs leave their tile only after the gate has opened, which covers
        them."""
        return known if self.gate is None else np.broadcast_to(np.int64(self.gate), known.shape)

    def pool(self, index: int) -> None:
        layer = self.mapping.network.layers[index]
        _, height, width = layer.input_shape
        _, out_h, out_w = layer.output_shape
        unit = self.pooling + self.mapping.home(index)
        ids = self.graph.tasks(index, unit, 1, (out_h, out_w))
        self.after_gate(ids)
        inputs = self.source_outputs(layer.source, index).reshape(height, width)
        for ky in range(layer.kernel):
            for kx in range(layer.kernel):
                y = np.arange(out_h) * layer.stride + ky - layer.padding
                x = np.arange(out_w) * layer.stride + kx - layer.padding
                oy = np.flatnonzero((y >= 0) & (y < height))
                ox = np.flatnonzero((x >= 0) & (x < width))
                self.graph.edges(inputs[np.ix_(y[oy], x[ox])], ids[np.ix_(oy, ox)])
        self.outputs[index] = ids.ravel()

    def source_outputs(self, source: int, index: int) -> Ids:
        """Tasks after which each input position is known in the source's home tile."""
        if source != IMAGE:
            return self.outputs[source]
        layer = self.mapping.network.layers[index]
        pixels = layer.input_shape[1] * layer.input_shape[2]
        cycles = _cycles(layer.input_shape[0] * layer.input_bits, self.chip.noc.flit_bits)
        ids = self.graph.tasks(index, self.global_buffer, cycles, (pixels,))
        self.after_gate(ids)
        return ids

    def weight_layer(self, index: int) -> None:
        placed = self.mapping.of(index)
        if self.reuse and self.mapping.network.sees_static_image(index):
            sums = self.kept_currents(placed)
        else:
            sums = _LayerTasks(self, placed).sums()
        if placed.layer.residual is not None:
            sums = self.residual(placed, sums)
        if placed.layer.spikes:
            unit = self.lif + self.mapping.home(index)
            ids = self.graph.tasks(
                index, unit, _cycles(placed.c_out, self.chip.lif.lanes), sums.shape
            )
            self.graph.edges(sums, ids)
            sums = ids
        self.outputs[index] = sums

    def kept_currents(self, placed: LayerMapping) -> Ids:
        """Read one window's currents per task, through a port as wide as the H-tree."""
        bits = placed.c_out * self.chip.lif.membrane_bits
        cycles = _cycles(bits, self.chip.tile.htree_bits)
        ids = self.graph.tasks(placed.index, self.current_memory, cycles, (placed.positions,))
        self.after_gate(ids)
        return ids

    def residual(self, placed: LayerMapping, sums: Ids) -> Ids:
        """The added layer's outputs travel to this home tile before the neurons can fire; returns
        the additions."""
        added = placed.layer.residual
        assert added is not None
        width = self.mapping.output_bits(added)
        arrived = self.transfer(
            placed.index,
            self.gated(self.outputs[added]),
            self.mapping.home(added),
            placed.first_tile,
            width * placed.c_out,
        )
        return self.late(placed.index, arrived, sums)

    def late(self, index: int, arrived: Ids, sums: Ids) -> Ids:
        """Add a second operand per position; the accumulator passes once more over the sums."""
        unit = self.global_accumulator + self.mapping.home(index)
        lanes = self.chip.tile.accumulator_lanes
        ids = self.graph.tasks(
            index, unit, _cycles(self.mapping.of(index).c_out, lanes), sums.shape
        )
        self.graph.edges(sums, ids)
        self.graph.edges(arrived, ids)
        return ids

    def readout(self, index: int) -> None:
        """Class scores travel to the σ-E module at node (0, 0) and are stored in the global
        buffer."""
        bits = self.mapping.network.classes * LOGIT_BITS
        arrived = self.transfer(index, self.outputs[index], self.mapping.home(index), 0, bits)
        stored = self.graph.tasks(
            index, self.global_buffer, _cycles(bits, self.chip.noc.flit_bits), arrived.shape
        )
        self.graph.edges(arrived, stored)

    def transfer(self, index: int, before: Ids, source: int, target: int, bits: int) -> Ids:
        """One packet of `bits` per task of `before` along the XY route; returns the tasks of
        arrival.

        Zero-load latency is ``hops · router_cycles + flits − 1`` (virtual cut-through); a packet
        longer than `router_cycles` flits holds each link for all its flits before the next, which
        is never optimistic.
        """
        flits, head = int(_cycles(bits, self.chip.noc.flit_bits)), self.chip.noc.router_cycles
        links = self.route(source, target)
        for hop, link in enumerate(links):
            cycles = head + flits - 1 if hop == len(links) - 1 else max(head, flits)
            ids = self.graph.tasks(index, link, cycles, before.shape)
            self.graph.edges(before, ids)
            before = ids
        return before

    def route(self, source: int, target: int) -> list[int]:
        """Link resources from tile to tile, first along x, then along y."""
        (x, y), (x1, y1) = self.mapping.node(source), self.mapping.node(target)
        columns, links = self.chip.chip.mesh_columns, []
        while (x, y) != (x1, y1):
            direction = (0 if x1 > x else 1) if x != x1 else (2 if y1 > y else 3)
            links.append(self.links + 4 * (y * columns + x) + direction)
            x += (1, -1, 0, 0)[direction]
            y += (0, 0, 1, -1)[direction]
        return links


class _LayerTasks:
    """One weight layer: w = windows, p = input positions, all of the layer's PEs and crossbars side
    by side."""

    def __init__(self, whole: _TimestepGraph, placed: LayerMapping):
        self.whole, self.placed, self.graph = whole, placed, whole.graph
        self.chip: Chip = whole.chip
        self.index = placed.index
        self.tile_of_pe = placed.tile_of_pe
        self.pe_of_crossbar = placed.pe_of_crossbar

    def sums(self) -> Ids:
        """Finished sums per window, int64 (w,), in the home tile."""
        windows = self.load_windows()
        up = self.read(windows)
        return self.accumulate(up)

    def load_windows(self) -> Ids:
        """Line buffers and PE loads: int64 (w, pes)."""
        placed, chip, graph = self.placed, self.chip, self.graph
        written, first, last = self.fill_line_buffers()
        self.tile_pool_last = last
        bits = placed.pe_rows * placed.layer.input_bits
        self.window_bytes = -(-bits // 8)
        down = graph.resources("tile_htree", placed.tiles)
        loads = graph.tasks(
            self.index,
            down + self.tile_of_pe,
            _cycles(bits, chip.tile.htree_bits),
            (placed.positions, placed.pes),
        )
        used = np.flatnonzero(first >= 0)
        graph.edges(written[used][:, self.tile_of_pe], loads[first[used]])
        graph.edges(loads[:-1], loads[1:])
        # A window that lies in the padding waits for no input.
        self.whole.after_gate(loads[0])
        self.pe_pool = graph.pools(
            f"PE buffer of {placed.layer.name}", placed.pes, chip.pe.buffer_bytes
        )
        graph.take(loads, self.pe_pool + np.arange(placed.pes), self.window_bytes)
        return loads

    def fill_line_buffers(self) -> tuple[Ids, Ids, Ids]:
        """Send each used input position to each tile; in order, so that the oldest line can always
        be freed."""
        placed, graph, whole = self.placed, self.graph, self.whole
        layer, mapping = placed.layer, whole.mapping
        first, last = first_and_last_window(layer)
        known = whole.source_outputs(layer.source, self.index)
        used = np.flatnonzero(first >= 0)
        size = pixel_bytes(layer)
        cycles = _cycles(8 * size, self.chip.tile.htree_bits)
        port = graph.resources("tile_buffer", placed.tiles)
        self.tile_pool = graph.pools(
            f"tile buffer of {layer.name}", placed.tiles, self.chip.tile.buffer_bytes
        )
        written = np.full((len(first), placed.tiles), -1, np.int64)
        source = mapping.home(layer.source)
        start = known[used] if layer.source == IMAGE else whole.gated(known[used])
        for tile in range(placed.tiles):
            arrived = whole.transfer(self.index, start, source, placed.first_tile + tile, 8 * size)
            ids = graph.tasks(self.index, port + tile, cycles, (len(used),))
            graph.edges(arrived, ids)
            graph.edges(ids[:-1], ids[1:])
            graph.take(ids, self.tile_pool + tile, size)
            written[used, tile] = ids
        return written, first, last

    def read(self, loads: Ids) -> Ids:
        """Bit-serial reads of every crossbar, group of rows by group of rows: int64 (w, crossbars),
        the transfer of each crossbar's sums."""
        placed, chip, graph = self.placed, self.chip, self.graph
        layer, crossbars = placed.layer, placed.crossbars
        bits = layer.input_bits
        down = graph.resources("pe_htree", placed.pes)
        offered = graph.tasks(
            self.index, down + np.arange(placed.pes), _cycles(placed.pe_rows, chip.pe.htree_bits),
            (placed.positions, bits, placed.pes),
        )  # fmt: skip
        graph.edges(loads[:, None], offered)
        groups = placed.reads_per_bit
        ids = self.read_tasks(bits * groups)
        reads, converted, added = (ids[:, :, step:-1:3].swapaxes(1, 2) for step in range(3))
        graph.edges(np.repeat(offered[:, :, self.pe_of_crossbar], groups, axis=1), reads)
        graph.edges(reads, converted)
        graph.edges(converted, added)
        # Bit lines hold their sums until the last column is converted; the next read waits.
        held = graph.pools(f"bit lines of {layer.name}", crossbars, 1) + np.arange(crossbars)
        graph.take(reads, held, 1)
        graph.give(converted, held, 1)
        up = ids[:, :, -1]
        graph.edges(added, up[:, None])
        return up

    def read_tasks(self, reads: int) -> Ids:
        """int64 (w, crossbars, 3·reads + 1): per read the array, its ADCs and its shift-and-add;
        then the transfer of the sums. They are numbered side by side because the engine runs them
        in close succession: that is a fifth faster than one kind after the other."""
        placed, chip, graph = self.placed, self.chip, self.graph
        crossbars = placed.crossbars
        units = graph.unit_groups(("crossbar", "adc", "shift_add"), crossbars)
        rise = graph.resources("pe_htree", placed.pes) + self.pe_of_crossbar
        width = crossbar_sum_bits(self.whole.mapping, placed)
        converting = chip.conversions_per_adc * conversion_cycles(chip)
        settling = cycles_of(chip.crossbar.settle_s, chip.chip.clock_hz, "crossbar.settle_s")
        # One cycle for the last code; the others are added while the next column is converted.
        cycles = [settling, converting, 1] * reads
        rising = _cycles(placed.crossbar_outputs * width, chip.pe.htree_bits)
        return graph.tasks(
            self.index,
            np.column_stack([np.tile(units, reads), rise]),
            np.column_stack([np.tile(cycles, (crossbars, 1)), rising]),
            (placed.positions, crossbars, 3 * reads + 1),
        )

    def accumulate(self, up: Ids) -> Ids:
        """PE, tile and global accumulators: int64 (w,)."""
        placed, chip, graph, whole = self.placed, self.chip, self.graph, self.whole
        windows, width = placed.positions, placed.partial_sum_bits
        pe_unit = graph.resources("pe_accumulator", placed.pes) + np.arange(placed.pes)
        in_pe = graph.tasks(
            self.index, pe_unit,
            _tree(placed.pe_outputs, chip.pe.accumulator_lanes, chip.pe.crossbars),
            (windows, placed.pes),
        )  # fmt: skip
        graph.edges(up, in_pe[:, self.pe_of_crossbar])
        graph.give(in_pe, self.pe_pool + np.arange(placed.pes), self.window_bytes)
        rise = graph.resources("tile_htree", placed.tiles) + self.tile_of_pe
        to_tile = graph.tasks(
            self.index,
            rise,
            _cycles(placed.pe_outputs * width, chip.tile.htree_bits),
            (windows, placed.pes),
        )
        graph.edges(in_pe, to_tile)
        tile_unit = graph.resources("tile_accumulator", placed.tiles) + np.arange(placed.tiles)
        in_tile = graph.tasks(
            self.index, tile_unit,
            _tree(placed.tile_outputs, chip.tile.accumulator_lanes, chip.tile.pes),
            (windows, placed.tiles),
        )  # fmt: skip
        graph.edges(to_tile, in_tile[:, self.tile_of_pe])
        self.free_line_buffers(in_tile)
        unit = whole.global_accumulator + placed.first_tile
        total = graph.tasks(
            self.index,
            unit,
            _tree(placed.c_out, chip.tile.accumulator_lanes, placed.tiles),
            (windows,),
        )
        for tile in range(placed.tiles):
            bits = int(placed.tile_outputs[tile]) * width
            arrived = whole.transfer(
                self.index, in_tile[:, tile], placed.first_tile + tile, placed.first_tile, bits
            )
            graph.edges(arrived, total)
        return total

    def free_line_buffers(self, in_tile: Ids) -> None:
        """A finished window frees the input positions that no later window needs."""
        last = self.tile_pool_last
        used = last[last >= 0]
        freed = np.bincount(used, minlength=self.placed.positions) * pixel_bytes(self.placed.layer)
        windows = np.flatnonzero(freed)
        pools = self.tile_pool + np.arange(self.placed.tiles)
        self.graph.give(in_tile[windows], pools, freed[windows][:, None])


def _cycles(amount: npt.ArrayLike, per_cycle: int) -> Ids:
    """⌈amount / per cycle⌉, at least 1."""
    return np.maximum(-(-np.asarray(amount, np.int64) // per_cycle), 1)


def _tree(outputs: npt.ArrayLike, lanes: int, inputs: int) -> Ids:
    """Pipelined adder tree: ⌈outputs / lanes⌉ cycles of throughput and ⌈log2 inputs⌉ of depth."""
    return _cycles(outputs, lanes) + math.ceil(math.log2(max(inputs, 1)))
