"""The graph builder against lists and dictionaries."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.timing.graph import RESOURCE_KINDS, GraphBuilder, TaskGraph

IDS = st.integers(0, 9)
CREDITS = st.lists(st.tuples(IDS, st.integers(0, 3), st.integers(1, 50)), max_size=12)


def rows(start: np.ndarray, *values: np.ndarray) -> list[Counter[tuple[int, ...]]]:
    """Entries of each row of a CSR table, order left out."""
    entries = list(zip(*(v.tolist() for v in values), strict=True))
    return [Counter(entries[a:b]) for a, b in zip(start.tolist(), start[1:].tolist(), strict=False)]


def ten_tasks() -> GraphBuilder:
    builder = GraphBuilder()
    first = builder.resources("lif", 2)
    builder.tasks(0, first + np.arange(10) % 2, 1, (10,))
    builder.pools("pool", 4, 100)
    return builder


@given(edges=st.lists(st.tuples(IDS, IDS), max_size=30), takes=CREDITS, gives=CREDITS)
def test_tables_hold_exactly_the_edges_and_credits_that_were_added(
    edges: list[tuple[int, int]],
    takes: list[tuple[int, int, int]],
    gives: list[tuple[int, int, int]],
) -> None:
    builder = ten_tasks()
    for before, after in edges:
        builder.edges(before, after)
    for entry in takes:
        builder.take(*entry)
    for entry in gives:
        builder.give(*entry)
    graph = builder.build()
    assert rows(graph.succ_start, graph.succ) == [
        Counter((b,) for a, b in edges if a == task) for task in range(10)
    ]
    assert graph.indegree.tolist() == [sum(b == task for _, b in edges) for task in range(10)]
    for start, pool, amount, entries in (
        (graph.take_start, graph.take_pool, graph.take_amount, takes),
        (graph.give_start, graph.give_pool, graph.give_amount, gives),
    ):
        assert rows(start, pool, amount) == [
            Counter((p, n) for t, p, n in entries if t == task) for task in range(10)
        ]


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_broadcast_blocks_equal_their_tasks_and_edges_one_by_one(
    shape: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    duration = rng.integers(1, 100, shape[-1])
    block = GraphBuilder()
    first = block.resources("adc", shape[-1])
    sources = block.tasks(3, first + np.arange(shape[-1]), duration, tuple(shape))
    sinks = block.tasks(4, first, 1, tuple(shape[:-1]))
    block.edges(sources, sinks[..., None])
    single = GraphBuilder()
    single.resources("adc", shape[-1])
    for index in np.ndindex(*shape):
        (task,) = single.tasks(3, index[-1], duration[index[-1]], (1,))
        assert task == sources[index]
    for _ in np.ndindex(*shape[:-1]):
        single.tasks(4, 0, 1, (1,))
    for index in np.ndindex(*shape):
        single.edges(sources[index], sinks[index[:-1]])
    built, expected = block.build(), single.build()
    for name in ("resource", "duration", "layer", "indegree", "succ_start", "succ"):
        np.testing.assert_array_equal(getattr(built, name), getattr(expected, name))


def test_resources_and_pools_are_numbered_in_blocks() -> None:
    builder = GraphBuilder()
    assert builder.resources("crossbar", 3) == 0
    assert builder.resources("lif", 2) == 3
    assert builder.pools("PE buffer", 2, 7) == 0
    assert builder.pools("tile buffer", 1, 9) == 2
    builder.tasks(5, [0, 4], [1, 2], (2,))
    graph = builder.build()
    assert graph.tasks == 2
    assert [RESOURCE_KINDS[k] for k in graph.resource_kind] == ["crossbar"] * 3 + ["lif"] * 2
    assert [RESOURCE_KINDS[k] for k in graph.kind_of_task()] == ["crossbar", "lif"]
    assert graph.pool_capacity.tolist() == [7, 7, 9]
    assert graph.pool_names == ((0, "PE buffer"), (2, "tile buffer"))
    assert graph.servers.tolist() == [1] * 5
    assert graph.layer.tolist() == [5, 5]


def test_a_graph_without_credits_has_empty_tables() -> None:
    graph: TaskGraph = ten_tasks().build()
    for table in (graph.succ, graph.take_pool, graph.take_amount, graph.give_pool):
        assert table.size == 0
    assert graph.take_start.tolist() == [0] * 11


def test_durations_beyond_32_bits_are_kept() -> None:
    builder = GraphBuilder()
    builder.tasks(0, builder.resources("adc", 1), 1 << 40, (1,))
    assert builder.build().duration.tolist() == [1 << 40]


def test_a_resource_of_no_known_kind_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        GraphBuilder().resources("warp drive", 1)
