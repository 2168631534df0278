"""Runs a task graph and says what it found: cycles, busy resources, or why it can never finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.errors import DeadlockError, MappingError
from imcsim.timing.graph import RESOURCE_KINDS, TaskGraph

Cycles = npt.NDArray[np.int64]

LONGEST_ON_WHEEL = 1 << 16
"""Longer tasks go to the binary heap: the wheel has one slot per cycle of the longest duration."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """When every task of a graph was ready, started and ended (int64 cycles)."""

    graph: TaskGraph
    ready: Cycles
    start: Cycles
    end: Cycles

    @property
    def makespan(self) -> int:
        """Cycles from the first start to the last end."""
        return int(self.end.max(initial=0))

    def layer_span(self, layer: int) -> tuple[int, int]:
        """First start and last end of a layer's tasks; (0, 0) if it has none."""
        chosen = self.graph.layer == layer
        if not chosen.any():
            return 0, 0
        return int(self.start[chosen].min()), int(self.end[chosen].max())

    def busiest(self, layer: int) -> tuple[str, float]:
        """Kind of the layer's most occupied resource, and its share of the layer's span."""
        chosen = self.graph.layer == layer
        if not chosen.any():
            return "", 0.0
        first, last = self.layer_span(layer)
        busy = np.bincount(
            self.graph.resource[chosen],
            weights=self.graph.duration[chosen],
            minlength=len(self.graph.servers),
        )
        top = int(busy.argmax())
        return RESOURCE_KINDS[self.graph.resource_kind[top]], float(busy[top] / (last - first))

    def busy_by_kind(self) -> dict[str, int]:
        """Cycles of work per kind of resource, summed over its instances."""
        work = np.bincount(
            self.graph.kind_of_task(), weights=self.graph.duration, minlength=len(RESOURCE_KINDS)
        )
        return {kind: int(cycles) for kind, cycles in zip(RESOURCE_KINDS, work, strict=True)}


def simulate(graph: TaskGraph) -> Schedule:
    """Run a graph to its end.

    Raises
    ------
    MappingError
        If a single task wants more credits than its pool can ever hold.
    DeadlockError
        If tasks are left and nothing moves any more; names a circle of waiting.
    """
    _refuse_oversized(graph)
    schedule = Schedule(graph, *(np.full(graph.tasks, -1, np.int64) for _ in range(3)))
    if run_engine(graph, schedule) < graph.tasks:
        raise DeadlockError(explain_deadlock(schedule))
    return schedule


def run_engine(graph: TaskGraph, schedule: Schedule, wheel: bool | None = None) -> int:
    """Run the wheel, or the heap if durations are too long for it (or `wheel` says so); returns
    tasks completed."""
    from imcsim.kernels.event_heap import run_heap
    from imcsim.kernels.event_wheel import run_wheel

    if wheel is None:
        wheel = int(graph.duration.max(initial=1)) <= LONGEST_ON_WHEEL
    run: Callable[..., int] = run_wheel if wheel else run_heap
    return int(
        run(
            graph.resource, graph.duration, graph.indegree, graph.succ_start, graph.succ,
            graph.take_start, graph.take_pool, graph.take_amount,
            graph.give_start, graph.give_pool, graph.give_amount,
            graph.servers, graph.pool_capacity, schedule.ready, schedule.start, schedule.end,
        )
    )  # fmt: skip


def _refuse_oversized(graph: TaskGraph) -> None:
    too_much = np.flatnonzero(graph.take_amount > graph.pool_capacity[graph.take_pool])
    if len(too_much):
        pool = int(graph.take_pool[too_much[0]])
        raise MappingError(
            f"{_pool_name(graph, pool)} holds {graph.pool_capacity[pool]:,}, "
            f"one transfer needs {graph.take_amount[too_much[0]]:,}"
        )


def explain_deadlock(schedule: Schedule) -> str:
    """Follow who waits for whom until a task comes up twice."""
    graph, standstill = schedule.graph, _Standstill(schedule)
    open_tasks = np.flatnonzero(schedule.end < 0)
    task, seen = int(open_tasks[0]), dict[int, str]()
    while task not in seen:
        seen[task], task = standstill.waits_for(task)
    path = list(seen)
    circle = path[path.index(task) :]
    steps = "; ".join(f"{_task_name(graph, t)} waits for {seen[t]}" for t in circle[:6])
    more = f" (and {len(circle) - 6} more)" if len(circle) > 6 else ""
    return f"{len(open_tasks):,} of {graph.tasks:,} tasks can never run: {steps}{more}"


class _Standstill:
    """Who waits for whom when nothing moves any more.

    Everything is indexed once: a circle of waiting may be thousands of tasks long.
    """

    def __init__(self, schedule: Schedule):
        graph = self.graph = schedule.graph
        is_open = schedule.end < 0
        before = _row_of_entry(graph.succ_start)
        kept = np.flatnonzero(is_open[before])[::-1]
        self.predecessor = np.full(graph.tasks, -1, np.int64)
        """An open predecessor of each task (the lowest, as the last assignment wins), or −1."""
        self.predecessor[graph.succ[kept]] = before[kept]
        queued = np.flatnonzero(is_open & (schedule.ready >= 0))
        queued = queued[np.lexsort((queued, schedule.ready[queued]))[::-1]]
        self.head = np.full(len(graph.servers), -1, np.int64)
        """First task of each resource's queue."""
        self.head[graph.resource[queued]] = queued
        self._index_pools(is_open)

    def _index_pools(self, is_open: npt.NDArray[np.bool_]) -> None:
        graph = self.graph
        taker, giver = _row_of_entry(graph.take_start), _row_of_entry(graph.give_start)
        taken, given = ~is_open[taker], ~is_open[giver]
        self.credits = graph.pool_capacity.copy()
        np.subtract.at(self.credits, graph.take_pool[taken], graph.take_amount[taken])
        np.add.at(self.credits, graph.give_pool[given], graph.give_amount[given])
        coming = np.flatnonzero(~given)
        self.givers = np.full((2, len(self.credits)), -1, np.int64)
        """First and last open task that will give to each pool, or −1."""
        self.givers[0, graph.give_pool[coming[::-1]]] = giver[coming[::-1]]
        self.givers[1, graph.give_pool[coming]] = giver[coming]

    def waits_for(self, task: int) -> tuple[str, int]:
        """What an open task waits for: in words, and the task that would have to move first."""
        graph = self.graph
        if self.predecessor[task] >= 0:
            predecessor = int(self.predecessor[task])
            return _task_name(graph, predecessor), predecessor
        head = int(self.head[graph.resource[task]])
        if head != task:
            return f"{_task_name(graph, head)} ahead of it", head
        entries = slice(graph.take_start[task], graph.take_start[task + 1])
        pools, amounts = graph.take_pool[entries], graph.take_amount[entries]
        lacking = next(
            int(pool)
            for pool in np.unique(pools)
            if self.credits[pool] < amounts[pools == pool].sum()
        )
        credit = f"credit of the {_pool_name(graph, lacking)}"
        for giver in self.givers[:, lacking]:
            if giver not in (-1, task):
                return credit, int(giver)
        return f"{credit} that nobody gives back", task


def _row_of_entry(start: Cycles) -> Cycles:
    """Row of each entry of a CSR table."""
    return np.repeat(np.arange(len(start) - 1), np.diff(start))


def _task_name(graph: TaskGraph, task: int) -> str:
    kind = RESOURCE_KINDS[graph.resource_kind[graph.resource[task]]]
    return f"{kind} task {task} of layer {graph.layer[task]}"


def _pool_name(graph: TaskGraph, pool: int) -> str:
    first, name = max(entry for entry in graph.pool_names if entry[0] <= pool)
    return f"{name} ({pool - first})"
