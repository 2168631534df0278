"""Running graphs: what a schedule says, what is refused, and how a deadlock is explained."""

from __future__ import annotations

import time

import numpy as np
import pytest

from imcsim.errors import DeadlockError, MappingError
from imcsim.timing.engine import Schedule, explain_deadlock, run_engine, simulate
from imcsim.timing.graph import GraphBuilder, TaskGraph
from imcsim.timing.network_graph import timestep_graph
from tests.reference.event_engine import run_reference
from tests.small_networks import SMALL_NETWORKS
from tests.timing.checks import small_mapping


def empty_schedule(graph: TaskGraph) -> Schedule:
    return Schedule(graph, *(np.full(graph.tasks, -1, np.int64) for _ in range(3)))


def ring(tasks: int) -> TaskGraph:
    """Each task waits for the one before, the first one for the last."""
    builder = GraphBuilder()
    lif = builder.resources("lif", 1)
    ids = builder.tasks(2, lif, 1, (tasks,))
    builder.edges(ids, np.roll(ids, -1))
    return builder.build()


def crossed_buffers() -> TaskGraph:
    """Two tasks hold one buffer each until a successor, which wants the other one, has ended."""
    builder = GraphBuilder()
    adc = builder.resources("adc", 4)
    left, right = builder.pools("left buffer", 1, 1), builder.pools("right buffer", 1, 1)
    first = builder.tasks(0, adc + np.arange(2), 5, (2,))
    second = builder.tasks(1, adc + 2 + np.arange(2), 5, (2,))
    builder.edges(first, second)
    builder.take(first, [left, right], 1)
    builder.take(second, [right, left], 1)
    builder.give(second, [left, right], 1)
    builder.give(second, [right, left], 1)
    return builder.build()


def run_all(graph: TaskGraph) -> list[Schedule]:
    """The same graph on the wheel, the heap and the slow twin."""
    schedules = [empty_schedule(graph) for _ in range(3)]
    for schedule, wheel in zip(schedules[:2], (True, False), strict=True):
        assert run_engine(graph, schedule, wheel=wheel) == graph.tasks
    twin = schedules[2]
    completed = run_reference(
        graph.resource, graph.duration, graph.indegree, graph.succ_start, graph.succ,
        graph.take_start, graph.take_pool, graph.take_amount,
        graph.give_start, graph.give_pool, graph.give_amount,
        graph.servers, graph.pool_capacity, twin.ready, twin.start, twin.end,
    )  # fmt: skip
    assert completed == graph.tasks
    return schedules


@pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
def test_wheel_heap_and_twin_agree_on_every_small_network(name: str) -> None:
    wheel, heap, twin = run_all(timestep_graph(small_mapping(name)))
    for other in (heap, twin):
        np.testing.assert_array_equal(wheel.ready, other.ready)
        np.testing.assert_array_equal(wheel.start, other.start)
        np.testing.assert_array_equal(wheel.end, other.end)


def test_a_task_too_long_for_the_wheel_goes_to_the_heap() -> None:
    builder = GraphBuilder()
    adc = builder.resources("adc", 1)
    builder.tasks(0, adc, [1 << 50, 3], (2,))
    schedule = simulate(builder.build())
    assert schedule.end.tolist() == [1 << 50, (1 << 50) + 3]
    assert schedule.makespan == (1 << 50) + 3


def test_spans_and_shares_of_a_schedule_done_by_hand() -> None:
    builder = GraphBuilder()
    lif, adc = builder.resources("lif", 1), builder.resources("adc", 2)
    a = builder.tasks(0, lif, [4, 6], (2,))
    b = builder.tasks(1, adc + np.arange(2), [30, 10], (2,))
    builder.edges(a, b)
    schedule = simulate(builder.build())
    assert schedule.start.tolist() == [0, 4, 4, 10]
    assert schedule.makespan == 34
    assert schedule.layer_span(0) == (0, 10)
    assert schedule.layer_span(1) == (4, 34)
    assert schedule.layer_span(7) == (0, 0)
    assert schedule.busiest(0) == ("lif", 1.0)
    assert schedule.busiest(1) == ("adc", 1.0)
    assert schedule.busiest(7) == ("", 0.0)
    busy = schedule.busy_by_kind()
    assert (busy["lif"], busy["adc"], sum(busy.values())) == (10, 40, 50)


def test_a_graph_without_tasks_takes_no_time() -> None:
    schedule = simulate(GraphBuilder().build())
    assert schedule.makespan == 0
    assert sum(schedule.busy_by_kind().values()) == 0


def test_a_single_demand_above_its_pool_is_refused_with_both_sizes() -> None:
    builder = GraphBuilder()
    adc = builder.resources("adc", 1)
    builder.pools("PE buffer of conv1", 3, 100)
    pool = builder.pools("tile buffer of conv2", 2, 2048)
    builder.take(builder.tasks(0, adc, 1, (1,)), pool + 1, 3000)
    with pytest.raises(MappingError) as caught:
        simulate(builder.build())
    assert str(caught.value) == "tile buffer of conv2 (1) holds 2,048, one transfer needs 3,000"


def test_a_deadlock_names_the_circle_of_buffers() -> None:
    with pytest.raises(DeadlockError) as caught:
        simulate(crossed_buffers())
    assert str(caught.value) == (
        "2 of 4 tasks can never run: "
        "adc task 2 of layer 1 waits for credit of the right buffer (0); "
        "adc task 3 of layer 1 waits for credit of the left buffer (0)"
    )


def test_a_deadlock_names_a_circle_of_dependencies() -> None:
    with pytest.raises(DeadlockError) as caught:
        simulate(ring(3))
    assert str(caught.value) == (
        "3 of 3 tasks can never run: lif task 0 of layer 2 waits for lif task 2 of layer 2; "
        "lif task 2 of layer 2 waits for lif task 1 of layer 2; "
        "lif task 1 of layer 2 waits for lif task 0 of layer 2"
    )


def test_a_long_circle_is_cut_short() -> None:
    with pytest.raises(DeadlockError, match=r"waits for lif task 94 of layer 2 \(and 94 more\)"):
        simulate(ring(100))


def test_a_task_behind_a_blocked_head_is_part_of_the_circle() -> None:
    """The head of the queue lacks credit that only the task behind it gives back."""
    builder = GraphBuilder()
    bus = builder.resources("pe_htree", 1)
    pool = builder.pools("PE buffer", 1, 1)
    head = builder.tasks(0, bus, 1, (2,))
    behind = builder.tasks(0, bus, 1, (1,))
    builder.take(head, pool, 1)
    builder.give(behind, pool, 1)
    with pytest.raises(DeadlockError) as caught:
        simulate(builder.build())
    assert str(caught.value) == (
        "2 of 3 tasks can never run: "
        "pe_htree task 1 of layer 0 waits for credit of the PE buffer (0); "
        "pe_htree task 2 of layer 0 waits for pe_htree task 1 of layer 0 ahead of it"
    )


def test_only_the_pool_that_lacks_credit_is_blamed() -> None:
    """Both tasks want both pools, but the first pool is large enough for all."""
    builder = GraphBuilder()
    adc = builder.resources("adc", 3)
    large, small = builder.pools("large buffer", 1, 10), builder.pools("small buffer", 1, 1)
    ids = builder.tasks(0, adc + np.arange(2), 1, (2,))
    builder.take(ids, large, 1)
    builder.take(ids, small, 1)
    builder.give(ids, large, 1)
    with pytest.raises(DeadlockError) as caught:
        simulate(builder.build())
    assert str(caught.value) == (
        "1 of 2 tasks can never run: adc task 1 of layer 0 waits for "
        "credit of the small buffer (0) that nobody gives back"
    )


def test_a_task_does_not_wait_for_the_credit_that_it_gives_back_itself() -> None:
    builder = GraphBuilder()
    adc = builder.resources("adc", 3)
    pool = builder.pools("buffer", 1, 1)
    leak, waiting, late = builder.tasks(0, adc + np.arange(3), 1, (3,))
    builder.take([leak, waiting], pool, 1)
    builder.give([waiting, late], pool, 1)
    builder.edges(waiting, late)
    with pytest.raises(DeadlockError) as caught:
        simulate(builder.build())
    assert str(caught.value) == (
        "2 of 3 tasks can never run: "
        "adc task 1 of layer 0 waits for credit of the buffer (0); "
        "adc task 2 of layer 0 waits for adc task 1 of layer 0"
    )


def test_a_circle_through_every_task_of_a_large_graph_is_found_in_seconds() -> None:
    graph = ring(200_000)
    before = time.perf_counter()
    text = explain_deadlock(empty_schedule(graph))
    assert time.perf_counter() - before < 20
    assert text.endswith("(and 199994 more)")
