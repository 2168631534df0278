"""One timestep as a task graph: closed forms by hand, counts, and what no schedule may do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imcsim.errors import MappingError
from imcsim.mapping import Mapping, map_network
from imcsim.mapping.placement import line_buffer_bytes
from imcsim.mapping.windows import used_positions
from imcsim.network.layers import Network
from imcsim.timing.engine import Schedule, simulate
from imcsim.timing.network_graph import timestep_graph
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, conv, linear, pool, random_network
from tests.timing.checks import (
    SPREAD,
    assert_credits_are_conserved,
    assert_schedule_obeys_the_graph,
    edges_of,
    of_kind,
    small_mapping,
)

NAMES = sorted(SMALL_NETWORKS)
MODES: dict[str, dict[str, Any]] = {
    "overlapped": {},
    "sequential": {"dataflow.layers": "sequential"},
    "once": {"dataflow.first_layer": "once"},
    "sequential_once": {"dataflow.layers": "sequential", "dataflow.first_layer": "once"},
}
NARROW: dict[str, Any] = {
    "noc.flit_bits": 8,
    "noc.router_cycles": 4,
    "tile.htree_bits": 16,
    "pe.htree_bits": 8,
    "tile.accumulator_lanes": 2,
    "pe.accumulator_lanes": 2,
    "lif.lanes": 4,
    "crossbar.settle_s": 6e-9,
}
"""Ports so narrow that no term of a hand calculation hides behind the minimum of one cycle."""
CONVERSIONS = 8 * 5
"""8 columns per ADC; 9 ns (8 bits and a sample, 1 ns each) are 5 cycles of 2 ns."""


def one_window_network(size: int = 1) -> Network:
    """A 1×1 convolution of 3 channels to 5, and 4 classes."""
    specs = [conv("conv", -1, 5, kernel=1, padding=0), linear("fc", 0, 4)]
    return random_network(specs, (3, size, size))


def schedule_of(mapping: Mapping, reuse: bool = False) -> Schedule:
    return simulate(timestep_graph(mapping, reuse))


def test_one_window_on_one_crossbar_takes_the_cycles_of_a_sum_by_hand() -> None:
    schedule = schedule_of(map_network(one_window_network(), rram64(NARROW | {"adc.bits": 8})))
    assert [m.input_bits for m in one_window_network().layers] == [8, 1]
    conv_cycles = (
        3  # global buffer: 3 channels of 8 bits, 8 bits per cycle
        + 0  # the home tile is the node of the global buffer's port
        + 2  # tile buffer: 24 bits, 16 per cycle
        + 2  # tile H-tree: the same 24 bits
        + 1  # PE H-tree: one bit of 3 rows, 8 per cycle; later bits arrive during the first read
        + 8 * (3 + CONVERSIONS)  # bit by bit: settle, then convert all columns
        + 1  # shift-and-add of the last bit
        + 14  # PE H-tree: 5 sums of 22 bits (255 · 17 · 255 < 2^21, and a sign), 8 per cycle
        + 3 + 4  # PE accumulator: 5 sums by 2 lanes, a tree over 16 crossbars
        + 6  # tile H-tree: 5 sums of 17 bits (3 · 127 · 127 < 2^16, and a sign), 16 per cycle
        + 3 + 2  # tile accumulator: 5 sums by 2 lanes, a tree over 4 PEs
        + 3  # global accumulator: a single tile
        + 2  # LIF: 5 neurons by 4 lanes
    )  # fmt: skip
    assert schedule.layer_span(0) == (0, conv_cycles)
    classifier_cycles = (
        4  # one hop of one flit: 5 spikes in a byte
        + 1 + 1 + 1  # tile buffer, tile H-tree, PE H-tree
        + 3 + CONVERSIONS
        + 1
        + 7  # PE H-tree: 4 sums of 13 bits (255 · 17 < 2^13), 8 per cycle
        + 2 + 4
        + 3  # tile H-tree: 4 sums of 11 bits (5 · 127 < 2^10, and a sign), 16 per cycle
        + 2 + 2
        + 2  # global accumulator
        + 4 + 15  # one hop of 16 flits: 4 scores of 32 bits
        + 16  # global buffer
    )  # fmt: skip
    assert schedule.makespan == conv_cycles + classifier_cycles


@pytest.mark.parametrize(
    ("overrides", "period"),
    [
        ({"adc.bits": 8}, 2 + 8 * 5),
        ({"adc.bits": 5}, 2 + 8 * 3),
        ({"adc.bits": 8, "adc.columns_per_adc": 16}, 2 + 16 * 5),
        ({"adc.bits": 8, "crossbar.settle_s": 14e-9}, 7 + 8 * 5),
        ({"adc.bits": 8, "chip.clock_hz": 1e9}, 4 + 8 * 9),
    ],
)
def test_many_windows_on_one_crossbar_follow_its_reads(
    overrides: dict[str, Any], period: int
) -> None:
    """Bottleneck law: the bit lines hold their sums until converted, everything else is faster."""
    mapping = map_network(one_window_network(6), rram64(overrides))
    schedule = schedule_of(mapping)
    reads = of_kind(schedule.graph, "crossbar", 0)
    assert len(reads) == 36 * 8
    np.testing.assert_array_equal(np.diff(schedule.start[reads]), period)
    fired = schedule.end[of_kind(schedule.graph, "lif", 0)]
    np.testing.assert_array_equal(np.diff(fired), 8 * period)


def cycles(overrides: dict[str, Any]) -> int:
    return schedule_of(map_network(one_window_network(3), rram64(overrides))).makespan


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("adc.bits", [3, 5, 8, 12]),
        ("adc.columns_per_adc", [1, 4, 8, 64]),
        ("crossbar.settle_s", [2e-9, 2.1e-9, 40e-9]),
        ("chip.clock_hz", [1e8, 5e8, 1e9, 4e9]),  # more cycles of the same nanoseconds
        ("noc.router_cycles", [1, 4, 9]),
    ],
)
def test_slower_parts_take_more_cycles(key: str, values: list[float]) -> None:
    taken = [cycles({key: value}) for value in values]
    assert taken == sorted(set(taken))


def test_a_faster_clock_still_takes_less_time() -> None:
    seconds = [cycles({"chip.clock_hz": hz}) / hz for hz in (1e8, 5e8, 1e9)]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["overlapped", "sequential"])
def test_every_layer_has_the_tasks_of_its_mapping(name: str, mode: str) -> None:
    mapping = small_mapping(name, MODES[mode])
    graph, network = timestep_graph(mapping), mapping.network
    for placed in mapping.layers:
        layer, windows, bits = placed.layer, placed.positions, placed.layer.input_bits
        expected = {
            "crossbar": placed.reads,
            "adc": placed.reads,
            "shift_add": placed.reads,
            "tile_buffer": used_positions(layer) * placed.tiles,
            "tile_htree": 2 * windows * placed.pes,
            "pe_htree": windows * (bits * placed.pes + placed.crossbars),
            "pe_accumulator": windows * placed.pes,
            "tile_accumulator": windows * placed.tiles,
            "global_accumulator": windows * (1 + (layer.residual is not None)),
            "lif": windows * layer.spikes,
            "pooling": 0,
            "current_memory": 0,
        }
        found = {kind: len(of_kind(graph, kind, placed.index)) for kind in expected}
        assert found == expected
    for index, layer in enumerate(network.layers):
        if layer.is_pool:
            outputs = layer.output_shape[1] * layer.output_shape[2]
            assert len(of_kind(graph, "pooling", index)) == outputs
    gates = len(network.layers) - 1 if mode == "sequential" else 0
    assert len(of_kind(graph, "controller")) == gates
    assert len(of_kind(graph, "crossbar")) == mapping.reads


@pytest.mark.parametrize("name", NAMES)
def test_the_mesh_carries_every_packet_over_every_hop(name: str) -> None:
    mapping = small_mapping(name)
    graph, network = timestep_graph(mapping), mapping.network
    assert max(placed.tiles for placed in mapping.layers) > 1
    for placed in mapping.layers:
        layer, home = placed.layer, placed.first_tile
        tiles = range(home, home + placed.tiles)
        source = mapping.home(layer.source)
        packets = used_positions(layer) * sum(mapping.hops(source, tile) for tile in tiles)
        packets += placed.positions * sum(mapping.hops(tile, home) for tile in tiles)
        if layer.residual is not None:
            packets += placed.positions * mapping.hops(mapping.home(layer.residual), home)
        if placed.index == len(network.layers) - 1:
            packets += mapping.hops(home, 0)
        assert len(of_kind(graph, "noc", placed.index)) == packets


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_obeys_its_graph(name: str, mode: str) -> None:
    mapping = small_mapping(name, MODES[mode])
    for reuse in (False, True):
        schedule = schedule_of(mapping, reuse)
        assert_credits_are_conserved(schedule.graph)
        assert_schedule_obeys_the_graph(schedule)
        assert schedule.layer_span(len(mapping.network.layers) - 1)[1] == schedule.makespan


@pytest.mark.parametrize("name", NAMES)
def test_everything_leads_to_the_class_scores(name: str) -> None:
    """The last write of the scores is the only end; what enters are images and the timestep."""
    graph = timestep_graph(small_mapping(name))
    before, _ = edges_of(graph)
    ends = np.setdiff1d(np.arange(graph.tasks), before)
    used = {int(ends[-1])} | set(of_kind(graph, "global_buffer")[:-1].tolist())
    assert set(ends.tolist()) <= used
    assert set(np.flatnonzero(graph.indegree == 0)) <= set(of_kind(graph, "global_buffer"))


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_sequential_layers_wait_for_all_outputs_of_the_layer_before(name: str, reuse: bool) -> None:
    mapping = small_mapping(name, MODES["sequential_once"])
    schedule = schedule_of(mapping, reuse)
    for index in range(1, len(mapping.network.layers)):
        assert schedule.layer_span(index)[0] >= schedule.layer_span(index - 1)[1]


@pytest.mark.parametrize("reuse", [False, True])
def test_sequential_layers_wait_where_the_source_lies_further_back(reuse: bool) -> None:
    """An odd edge that the pool drops, a second reader of the image, windows all in padding."""
    specs = [
        conv("stem", -1, 4),
        pool("pool", 0, "max_pool"),
        conv("padded", 1, 4, kernel=1, padding=1),
        conv("image", -1, 4, kernel=2, padding=0, spikes=False),
        conv("joined", 2, 4, residual=3),
        linear("fc", 4, 3),
    ]
    network = random_network(specs, (2, 5, 5))
    mapping = map_network(network, rram64(SPREAD | MODES["sequential_once"]))
    schedule = schedule_of(mapping, reuse)
    assert_schedule_obeys_the_graph(schedule)
    for index in range(1, len(specs)):
        assert schedule.layer_span(index)[0] >= schedule.layer_span(index - 1)[1]


@pytest.mark.parametrize("name", NAMES)
def test_overlapped_layers_are_not_slower_than_one_after_another(name: str) -> None:
    overlapped, sequential = (
        schedule_of(small_mapping(name, MODES[mode])).makespan
        for mode in ("overlapped", "sequential")
    )
    assert overlapped <= sequential


def test_kept_currents_replace_the_first_layer_s_reads() -> None:
    mapping = small_mapping("max_pool", MODES["once"])
    graph = timestep_graph(mapping, reuse_first_currents=True)
    assert len(of_kind(graph, "crossbar", 0)) == 0
    read = of_kind(graph, "current_memory", 0)
    assert len(read) == 36
    # 5 channels of 16 bits through the H-tree's 256 bits.
    assert set(graph.duration[read]) == {1}
    assert len(of_kind(graph, "lif", 0)) == 36


def test_events_cannot_keep_first_layer_currents() -> None:
    mapping = small_mapping("events", MODES["once"])
    kept, plain = timestep_graph(mapping, True), timestep_graph(mapping)
    assert len(of_kind(kept, "current_memory")) == 0
    np.testing.assert_array_equal(kept.resource, plain.resource)


def exact_buffers(mapping: Mapping) -> dict[str, int]:
    """The smallest buffers with which the mapping is accepted."""
    windows = [-(-int(m.pe_rows.max()) * m.layer.input_bits // 8) for m in mapping.layers]
    return {
        "tile.buffer_bytes": max(line_buffer_bytes(m.layer) for m in mapping.layers),
        "pe.buffer_bytes": max(windows),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_buffers_that_the_mapping_accepts_are_enough(name: str) -> None:
    smallest = exact_buffers(small_mapping(name))
    schedule = schedule_of(small_mapping(name, smallest))
    assert_schedule_obeys_the_graph(schedule)
    assert schedule.makespan >= schedule_of(small_mapping(name)).makespan
    for key, needed in smallest.items():
        with pytest.raises(MappingError, match=rf"\b{needed:,} bytes.*{key} is {needed - 1:,}"):
            small_mapping(name, {key: needed - 1})


@settings(max_examples=40)
@given(
    size=st.integers(1, 7),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    channels=st.integers(1, 9),
)
def test_exactly_the_line_buffer_suffices_for_any_window(
    size: int, kernel: int, stride: int, padding: int, channels: int
) -> None:
    assume(kernel <= size + 2 * padding)
    shape = {"kernel": kernel, "stride": stride, "padding": padding}
    network = random_network(
        [conv("conv", -1, 3, **shape), linear("fc", 0, 2)], (channels, size, size)
    )
    roomy = map_network(network, rram64(SPREAD | {"chip.mesh_rows": 60}))
    conv_only = exact_buffers(Mapping(roomy.chip, network, roomy.slicing, roomy.layers[:1]))
    assume(conv_only["tile.buffer_bytes"] >= line_buffer_bytes(network.layers[1]))
    assume(conv_only["pe.buffer_bytes"] >= exact_buffers(roomy)["pe.buffer_bytes"])
    mapping = map_network(network, rram64(SPREAD | {"chip.mesh_rows": 60} | conv_only))
    schedule = schedule_of(mapping)
    assert schedule.graph.tasks == (schedule.end > 0).sum()


@pytest.mark.parametrize("buffer", [1, 2, 3, 5, 50])
def test_pe_buffers_of_any_accepted_size_do_not_deadlock(buffer: int) -> None:
    mapping = small_mapping("max_pool")
    smallest = exact_buffers(mapping)["pe.buffer_bytes"]
    schedule = schedule_of(small_mapping("max_pool", {"pe.buffer_bytes": smallest * buffer}))
    assert_schedule_obeys_the_graph(schedule)
