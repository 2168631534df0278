"""The event engines against their slow twin, closed forms of queues, and the rule of a cycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.event_heap import run_heap
from imcsim.kernels.event_wheel import run_wheel
from tests.reference.event_engine import run_reference

Engine = Callable[..., int]
Demands = Sequence[Sequence[tuple[int, int]]]
ENGINES = (run_wheel, run_heap, run_reference)
each_engine = pytest.mark.parametrize("engine", ENGINES)


def csr(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    first = np.cumsum([0, *(len(entries) for entries in lists)]).astype(np.int64)
    return first, np.array([entry for entries in lists for entry in entries], np.int32)


def graph(
    resource: Sequence[int],
    duration: Sequence[int],
    edges: Sequence[tuple[int, int]] = (),
    takes: Demands | None = None,
    gives: Demands | None = None,
    servers: Sequence[int] | None = None,
    pools: Sequence[int] = (),
) -> tuple[np.ndarray, ...]:
    """Arguments of the engines from lists; demands are one list of (pool, amount) per task."""
    n = len(resource)
    successors: list[list[int]] = [[] for _ in range(n)]
    for before, after in edges:
        successors[before].append(after)
    arguments: list[np.ndarray] = [np.array(resource, np.int32), np.array(duration, np.int64)]
    arguments.append(np.bincount([after for _, after in edges], minlength=n).astype(np.int32))
    arguments += csr(successors)
    for demands in (takes or [[]] * n, gives or [[]] * n):
        arguments += csr([[pool for pool, _ in demand] for demand in demands])
        arguments.append(np.array([a for demand in demands for _, a in demand], np.int64))
    arguments.append(np.array(servers or [1] * (max(resource, default=0) + 1), np.int32))
    arguments.append(np.array(pools, np.int64))
    return tuple(arguments)


def simulate(
    engine: Engine, arguments: tuple[np.ndarray, ...]
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return completed tasks, ready, start and end."""
    ready, start, end = (np.full(arguments[0].size, 99, np.int64) for _ in range(3))
    return engine(*arguments, ready, start, end), ready, start, end


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Random graphs without circles; credits may be short, so that some end in a deadlock."""
    seed = draw(st.integers(0, 2**32 - 1))
    n = draw(st.integers(1, 60))
    resources = draw(st.integers(1, 8))
    pools = draw(st.integers(0, 4))
    rng = np.random.default_rng(seed)
    longest = draw(st.sampled_from([1, 3, 100, 1000]))
    density = draw(st.sampled_from([0.0, 0.02, 0.1]))
    order = rng.permutation(n)
    edges = [
        (int(order[i]), int(order[j]))
        for i, j in np.argwhere(np.triu(rng.random((n, n)) < density, 1))
    ]

    def demands(most: int) -> list[list[tuple[int, int]]]:
        return [
            [(int(rng.integers(pools)), int(rng.integers(0, 4))) for _ in range(rng.integers(most))]
            if pools
            else []
            for _ in range(n)
        ]

    takes = demands(4)
    is_balanced = draw(st.booleans())
    return graph(
        rng.integers(0, resources, n).tolist(),
        rng.integers(1, longest + 1, n).tolist(),
        edges,
        takes,
        takes if is_balanced else demands(5),
        [int(x) for x in rng.integers(1, 4, resources)],
        [int(x) for x in rng.integers(0, 12, pools)],
    )


@settings(max_examples=400, deadline=None)
@given(arguments=random_graphs())
def test_wheel_and_heap_match_the_slow_twin_bit_for_bit(arguments: tuple[np.ndarray, ...]) -> None:
    expected = simulate(run_reference, arguments)
    for engine in (run_wheel, run_heap):
        result = simulate(engine, arguments)
        assert result[0] == expected[0]
        for array, expected_array in zip(result[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(array, expected_array)


@settings(max_examples=150, deadline=None)
@given(arguments=random_graphs())
def test_no_resource_is_overbooked_and_no_pool_overdrawn(arguments: tuple[np.ndarray, ...]) -> None:
    resource, duration = arguments[:2]
    take_start, take_pool, take_amount, give_start, give_pool, give_amount = arguments[5:11]
    servers, capacity = arguments[11:]
    completed, ready, start, end = simulate(run_wheel, arguments)
    started = start >= 0
    assert completed == started.sum()
    assert (ready[started] <= start[started]).all()
    np.testing.assert_array_equal((end - start)[started], duration[started])
    for cycle in np.unique(start[started]):
        running = started & (start <= cycle) & (cycle < end)
        assert (np.bincount(resource[running], minlength=servers.size) <= servers).all()
        level = capacity.copy()
        for task in np.flatnonzero(started & (start <= cycle)):
            taken = slice(take_start[task], take_start[task + 1])
            np.subtract.at(level, take_pool[taken], take_amount[taken])
        for task in np.flatnonzero(started & (end <= cycle)):
            given_back = slice(give_start[task], give_start[task + 1])
            np.add.at(level, give_pool[given_back], give_amount[given_back])
        assert (level >= 0).all()


def tandem_line(service: np.ndarray, buffers: int | None) -> tuple[np.ndarray, ...]:
    """Jobs (rows) through stations (columns); with `buffers` places in front of each next station.

    A job takes a place of the next station's buffer when it starts and gives it back when it has
    been served there: blocking before service.
    """
    jobs, stations = service.shape
    task = np.arange(jobs * stations).reshape(jobs, stations)
    edges = list(zip(task[:, :-1].ravel().tolist(), task[:, 1:].ravel().tolist(), strict=True))
    station = np.tile(np.arange(stations), jobs)
    if buffers is None:
        return graph(station.tolist(), service.ravel().tolist(), edges)
    takes = [[(int(s), 1)] if s < stations - 1 else [] for s in station]
    gives = [[(int(s) - 1, 1)] if s > 0 else [] for s in station]
    pools = [buffers] * (stations - 1)
    return graph(station.tolist(), service.ravel().tolist(), edges, takes, gives, pools=pools)


services = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(
        1, 20, np.random.default_rng(seed + 1).integers(1, (40, 8))
    )
)


@settings(max_examples=60, deadline=None)
@given(service=services, buffers=st.sampled_from([1, 2, 3, 8]))
def test_a_tandem_line_with_credits_follows_the_recurrence_of_blocking_before_service(
    service: np.ndarray, buffers: int
) -> None:
    jobs, stations = service.shape
    start = np.zeros((jobs, stations), np.int64)
    end = np.zeros((jobs, stations), np.int64)
    for i in range(jobs):
        for s in range(stations):
            causes = [0]
            if s > 0:
                causes.append(end[i, s - 1])
            if i > 0:
                causes.append(end[i - 1, s])
            if i >= buffers and s + 1 < stations:
                causes.append(end[i - buffers, s + 1])
            start[i, s] = max(causes)
            end[i, s] = start[i, s] + service[i, s]
    for engine in (run_wheel, run_heap):
        completed, _, simulated, _ = simulate(engine, tandem_line(service, buffers))
        assert completed == service.size
        np.testing.assert_array_equal(simulated.reshape(service.shape), start)


@settings(max_examples=60, deadline=None)
@given(service=services)
def test_a_tandem_line_without_buffers_is_the_max_plus_recurrence(service: np.ndarray) -> None:
    end = np.zeros((service.shape[0] + 1, service.shape[1] + 1), np.int64)
    for i, s in np.ndindex(service.shape):
        end[i + 1, s + 1] = max(end[i, s + 1], end[i + 1, s]) + service[i, s]
    for engine in (run_wheel, run_heap):
        _, _, _, simulated = simulate(engine, tandem_line(service, None))
        np.testing.assert_array_equal(simulated.reshape(service.shape), end[1:, 1:])


@settings(max_examples=40, deadline=None)
@given(stages=st.lists(st.integers(1, 90), min_size=1, max_size=8), jobs=st.integers(1, 50))
def test_a_deterministic_pipeline_takes_its_fill_plus_the_bottleneck_per_further_job(
    stages: list[int], jobs: int
) -> None:
    service = np.tile(stages, (jobs, 1))
    for engine in (run_wheel, run_heap):
        _, _, _, end = simulate(engine, tandem_line(service, None))
        assert end.max() == sum(stages) + (jobs - 1) * max(stages)


def test_random_arrivals_at_one_server_wait_as_long_as_pollaczek_and_khinchine_say() -> None:
    jobs, service, load = 20_000, 100, 0.5
    rng = np.random.default_rng(4)
    gaps = np.maximum(1, np.rint(rng.exponential(service / load, jobs))).astype(np.int64)
    # A source of its own makes job i ready at the sum of the gaps up to i.
    n = 2 * jobs
    resource = np.repeat(np.array([0, 1], np.int32), jobs)
    duration = np.concatenate([gaps, np.full(jobs, service)])
    indegree = np.ones(n, np.int32)
    indegree[0] = 0
    succ_start = np.minimum(2 * np.arange(n + 1), 2 * jobs - 1)
    succ = np.stack([np.arange(1, jobs + 1), np.arange(jobs, n)], axis=1).ravel()
    succ[-2:] = n - 1
    none = (np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    arguments = (resource, duration, indegree, succ_start, succ[: 2 * jobs - 1].astype(np.int32))
    servers = (np.ones(2, np.int32), np.zeros(0, np.int64))
    completed, ready, start, end = simulate(run_wheel, (*arguments, *none, *none, *servers))
    assert completed == n
    np.testing.assert_array_equal(ready[jobs:], np.cumsum(gaps))
    wait = (start - ready)[jobs:]
    assert wait.mean() == pytest.approx(load * service / (2 * (1 - load)), rel=0.03)
    sojourn = (end - ready)[jobs:]
    arrivals_seen = np.searchsorted(ready[jobs:], np.arange(end.max()), side="right")
    departures_seen = np.searchsorted(end[jobs:], np.arange(end.max()), side="right")
    assert (arrivals_seen - departures_seen).sum() == sojourn.sum()  # Little's law


@each_engine
def test_two_resources_compete_for_one_pool_in_the_order_of_their_ids(engine: Engine) -> None:
    takes = [[(0, 1)]] * 3
    # Task 0 sits on the highest resource: the id of the task does not decide.
    arguments = graph([2, 1, 0], [5, 5, 5], takes=takes, gives=takes, pools=[1])
    _, ready, start, _ = simulate(engine, arguments)
    assert ready.tolist() == [0, 0, 0]
    assert start.tolist() == [10, 5, 0]


@each_engine
def test_a_resource_with_a_lower_id_passes_one_that_has_waited_for_the_pool(engine: Engine) -> None:
    # Task 0 holds the credit until 4; task 1 (resource 2) has waited since 0, task 3 (resource 1)
    # becomes ready at 4 and is first.
    takes = [[(0, 1)], [(0, 1)], [], [(0, 1)]]
    arguments = graph([0, 2, 3, 1], [4, 4, 4, 4], [(2, 3)], takes, takes, pools=[1])
    _, _, start, _ = simulate(engine, arguments)
    assert start.tolist() == [0, 8, 0, 4]


@each_engine
def test_a_small_demand_passes_a_large_one_of_another_resource(engine: Engine) -> None:
    takes = [[(0, 3)], [(0, 3)], [(0, 1)]]
    arguments = graph([0, 1, 2], [5, 5, 5], takes=takes, gives=takes, pools=[4])
    _, _, start, _ = simulate(engine, arguments)
    assert start.tolist() == [0, 5, 0]


@each_engine
def test_a_head_without_credit_blocks_those_behind_it(engine: Engine) -> None:
    takes = [[(0, 1)], [(0, 1)], []]
    gives: Demands = [[(0, 1)], [], []]
    arguments = graph([0, 1, 1], [7, 1, 1], takes=takes, gives=gives, pools=[1])
    _, _, start, _ = simulate(engine, arguments)
    assert start.tolist() == [0, 7, 8]


@each_engine
def test_credits_are_taken_all_at_once_or_not_at_all(engine: Engine) -> None:
    # Task 1 needs both pools; while it waits for pool 0 it must not hold pool 1 (task 2).
    takes = [[(0, 1)], [(1, 1), (0, 1)], [(1, 1)]]
    arguments = graph([0, 1, 2], [6, 1, 9], takes=takes, gives=takes, pools=[1, 1])
    _, _, start, _ = simulate(engine, arguments)
    assert start.tolist() == [0, 9, 0]


@each_engine
def test_a_pool_that_stands_twice_in_a_demand_counts_twice(engine: Engine) -> None:
    takes = [[(0, 2)], [(0, 1), (0, 1)]]
    arguments = graph([0, 1], [3, 3], takes=takes, gives=takes, pools=[3])
    _, _, start, _ = simulate(engine, arguments)
    assert start.tolist() == [0, 3]


@each_engine
def test_tasks_that_become_ready_together_start_in_the_order_of_their_ids(engine: Engine) -> None:
    n = 300
    shuffled = np.random.default_rng(2).permutation(np.arange(1, n + 1)).tolist()
    arguments = graph([0] + [1] * n, [4] + [1] * n, [(0, after) for after in shuffled])
    _, ready, start, _ = simulate(engine, arguments)
    assert (ready[1:] == 4).all()
    assert start[1:].tolist() == list(range(4, 4 + n))


@each_engine
def test_the_earlier_ready_task_goes_before_the_lower_id(engine: Engine) -> None:
    # Resource 2 is busy until 9; task 3 is ready at 2, tasks 0 and 1 at 5.
    arguments = graph(
        [2, 2, 2, 2, 0, 1], [3, 3, 9, 3, 2, 5], [(4, 3), (5, 1), (5, 0)], servers=[1, 1, 1]
    )
    _, _, start, _ = simulate(engine, arguments)
    assert start[[3, 0, 1]].tolist() == [9, 12, 15]


@each_engine
def test_a_resource_with_two_servers_runs_two_tasks_at_a_time(engine: Engine) -> None:
    _, _, start, end = simulate(engine, graph([0] * 5, [4, 6, 4, 4, 4], servers=[2]))
    assert start.tolist() == [0, 0, 4, 6, 8]
    assert end.tolist() == [4, 6, 8, 10, 12]


@each_engine
def test_two_tasks_that_wait_for_each_others_credit_never_complete(engine: Engine) -> None:
    takes = [[(0, 1)], [(1, 1)], []]
    gives = [[(1, 1)], [(0, 1)], []]
    arguments = graph([0, 1, 2], [1, 1, 1], takes=takes, gives=gives, pools=[0, 0])
    completed, ready, start, end = simulate(engine, arguments)
    assert completed == 1
    assert ready.tolist() == [0, 0, 0]
    assert start.tolist() == [-1, -1, 0]
    assert end.tolist() == [-1, -1, 1]


@each_engine
def test_tasks_on_a_circle_of_edges_never_become_ready(engine: Engine) -> None:
    completed, ready, _, _ = simulate(engine, graph([0, 0, 1], [1, 1, 1], [(0, 1), (1, 0)]))
    assert completed == 1
    assert ready.tolist() == [-1, -1, 0]


@each_engine
def test_an_empty_graph_completes_nothing(engine: Engine) -> None:
    assert simulate(engine, graph([], [], servers=[1]))[0] == 0


@pytest.mark.parametrize("engine", [run_wheel, run_heap])
def test_a_task_without_duration_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="one cycle at least"):
        simulate(engine, graph([0, 0], [1, 0]))


def test_the_heap_takes_durations_that_no_wheel_could_hold() -> None:
    arguments = graph([0, 1], [2**40, 2**50], [(0, 1)])
    assert simulate(run_heap, arguments)[3].tolist() == [2**40, 2**40 + 2**50]


@each_engine
def test_the_arguments_are_not_changed(engine: Engine) -> None:
    service = np.random.default_rng(1).integers(1, 9, (20, 4))
    arguments = tandem_line(service, 2)
    copies = [array.copy() for array in arguments]
    simulate(engine, arguments)
    for array, copy in zip(arguments, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_crowd_of_watchers_at_one_pool_is_served_in_order_and_equals_the_heap() -> None:
    rng = np.random.default_rng(8)
    n, resources = 600, 150
    takes = [[(0, int(amount))] for amount in rng.integers(1, 5, n)]
    arguments = graph(
        rng.integers(0, resources, n).tolist(),
        rng.integers(1, 50, n).tolist(),
        takes=takes,
        gives=takes,
        servers=[1] * resources,
        pools=[9],
    )
    wheel, heap = simulate(run_wheel, arguments), simulate(run_heap, arguments)
    assert wheel[0] == heap[0] == n
    np.testing.assert_array_equal(wheel[2], heap[2])
