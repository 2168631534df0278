"""What holds for every schedule of every graph, in plain numpy; and small mappings to try it on."""

from __future__ import annotations

from typing import Any

import numpy as np

from imcsim.mapping import Mapping, map_network
from imcsim.timing.engine import Schedule
from imcsim.timing.graph import RESOURCE_KINDS, TaskGraph
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS

SPREAD: dict[str, Any] = {
    "crossbar.rows": 8,
    "crossbar.cols": 8,
    "adc.columns_per_adc": 4,
    "pe.crossbars": 2,
    "tile.pes": 2,
    "chip.mesh_columns": 6,
    "chip.mesh_rows": 6,
}
"""A chip so small in its parts that every tiny network spreads over several PEs and tiles."""


def small_mapping(
    name: str, overrides: dict[str, Any] | None = None, **network_options: Any
) -> Mapping:
    """A tiny network on the `SPREAD` chip."""
    network = SMALL_NETWORKS[name](**network_options)
    return map_network(network, rram64(SPREAD | (overrides or {})))


def edges_of(graph: TaskGraph) -> tuple[np.ndarray, np.ndarray]:
    """(before, after) of every edge."""
    return np.repeat(np.arange(graph.tasks), np.diff(graph.succ_start)), graph.succ


def of_kind(graph: TaskGraph, kind: str, layer: int | None = None) -> np.ndarray:
    """Ids of the tasks on one kind of resource."""
    chosen = graph.kind_of_task() == RESOURCE_KINDS.index(kind)
    if layer is not None:
        chosen &= graph.layer == layer
    return np.flatnonzero(chosen)


def assert_credits_are_conserved(graph: TaskGraph) -> None:
    """Whatever is taken from a pool is given back to it: when all is done, every pool is full."""
    pools = len(graph.pool_capacity)
    taken = np.bincount(graph.take_pool, graph.take_amount, pools)
    given = np.bincount(graph.give_pool, graph.give_amount, pools)
    np.testing.assert_array_equal(taken, given)
    assert (taken > 0).all()


def assert_schedule_obeys_the_graph(schedule: Schedule) -> None:
    """Order, durations, servers and credits, each checked from the times alone."""
    graph, ready, start, end = schedule.graph, schedule.ready, schedule.start, schedule.end
    np.testing.assert_array_equal(end - start, graph.duration)
    assert (start >= ready).all()
    before, after = edges_of(graph)
    latest = np.zeros(graph.tasks, np.int64)
    np.maximum.at(latest, after, end[before])
    np.testing.assert_array_equal(ready, latest)
    order = np.lexsort((start, graph.resource))
    same = graph.resource[order[1:]] == graph.resource[order[:-1]]
    assert (start[order[1:]] >= end[order[:-1]])[same].all(), "two tasks at once on a resource"
    assert_queues_are_fair(schedule)
    assert_no_pool_is_overdrawn(schedule)


def assert_queues_are_fair(schedule: Schedule) -> None:
    """Every resource serves in the order of (ready cycle, task id)."""
    graph = schedule.graph
    order = np.lexsort((np.arange(graph.tasks), schedule.ready, graph.resource))
    same = graph.resource[order[1:]] == graph.resource[order[:-1]]
    starts = schedule.start[order]
    assert (starts[1:] > starts[:-1])[same].all()


def assert_no_pool_is_overdrawn(schedule: Schedule) -> None:
    """Running sum of credits per pool, what ends in a cycle before what starts in it."""
    graph = schedule.graph
    taker = np.repeat(np.arange(graph.tasks), np.diff(graph.take_start))
    giver = np.repeat(np.arange(graph.tasks), np.diff(graph.give_start))
    pool = np.concatenate([graph.take_pool, graph.give_pool])
    cycle = np.concatenate([schedule.start[taker], schedule.end[giver]])
    amount = np.concatenate([-graph.take_amount, graph.give_amount])
    order = np.lexsort((amount < 0, cycle, pool))
    for one in np.split(order, np.flatnonzero(np.diff(pool[order])) + 1):
        level = graph.pool_capacity[pool[one[0]]] + np.cumsum(amount[one])
        assert level.min() >= 0
        assert level[-1] == graph.pool_capacity[pool[one[0]]]
