"""Packets on the mesh: routes and latencies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.mapping import Mapping, map_network
from imcsim.timing.engine import simulate
from imcsim.timing.network_graph import _TimestepGraph
from tests.mapping.chips import rram64
from tests.small_networks import linear_network
from tests.timing.checks import of_kind

STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
"""Direction of a node's link 0..3."""
TILES = st.integers(0, 34)


def mesh(flit_bits: int = 8, router_cycles: int = 4) -> Mapping:
    """7×5 nodes."""
    chip = rram64(
        {
            "chip.mesh_columns": 7,
            "chip.mesh_rows": 5,
            "noc.flit_bits": flit_bits,
            "noc.router_cycles": router_cycles,
        }
    )
    return map_network(linear_network(), chip)


@given(source=TILES, target=TILES)
def test_a_route_runs_along_x_and_then_along_y_over_adjacent_nodes(
    source: int, target: int
) -> None:
    mapping = mesh()
    graph = _TimestepGraph(mapping, False)
    links = graph.route(source, target)
    assert len(links) == len(set(links)) == mapping.hops(source, target)
    position, directions = np.array(mapping.node(source)), []
    for link in links:
        node, direction = divmod(link - graph.links, 4)
        assert node == position[1] * 7 + position[0]
        position += STEPS[direction]
        assert (position >= 0).all() and (position < (7, 5)).all()
        directions.append(direction)
    assert tuple(position) == mapping.node(target)
    assert directions == sorted(directions)
    assert len(set(directions)) <= 2


def test_every_link_of_a_node_is_a_resource_of_its_own() -> None:
    graph = _TimestepGraph(mesh(), False)
    links = {graph.route(a, b)[0] for a in range(35) for b in range(35) if a != b}
    # A 7×5 mesh has 6·5 + 7·4 pairs of neighbours.
    assert len(links) == 2 * (6 * 5 + 7 * 4)
    assert links < set(range(graph.links, graph.links + 4 * 35))


def latency(mapping: Mapping, source: int, target: int, bits: int, packets: int = 1) -> np.ndarray:
    """Cycles until each of some packets that set out together has arrived."""
    graph = _TimestepGraph(mapping, False)
    start = graph.graph.tasks(0, graph.controller, 1, (1,))
    before = np.broadcast_to(start, (packets,))
    after = graph.graph.tasks(0, graph.lif, 1, (packets,))
    graph.graph.edges(graph.transfer(0, before, source, target, bits), after)
    schedule = simulate(graph.graph.build())
    arrived: np.ndarray = schedule.ready[of_kind(schedule.graph, "lif")] - 1
    return arrived


@given(source=TILES, target=TILES, flits=st.integers(1, 20), router_cycles=st.integers(1, 8))
def test_zero_load_latency_is_hops_times_router_plus_the_other_flits(
    source: int, target: int, flits: int, router_cycles: int
) -> None:
    mapping = mesh(router_cycles=router_cycles)
    hops = mapping.hops(source, target)
    (cycles,) = latency(mapping, source, target, 8 * flits)
    if hops == 0:
        assert cycles == 0
    elif flits <= router_cycles or hops == 1:
        assert cycles == hops * router_cycles + flits - 1
    else:
        # Longer packets are stored at each node.
        assert cycles == (hops - 1) * flits + router_cycles + flits - 1
        assert cycles > hops * router_cycles + flits - 1


@pytest.mark.parametrize(("bits", "flits"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_a_packet_has_whole_flits(bits: int, flits: int) -> None:
    (cycles,) = latency(mesh(), 0, 3, bits)
    assert cycles == 3 * 4 + flits - 1


def test_packets_on_one_route_follow_each_other_at_the_pace_of_the_slowest_link() -> None:
    # The last link holds a packet for its head and all its flits: 4 + 3 − 1.
    arrived = latency(mesh(), 0, 2, 24, packets=5)
    np.testing.assert_array_equal(arrived, 2 * 4 + 2 + 6 * np.arange(5))
