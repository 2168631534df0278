"""Slow, obvious twin of the event engines: every cycle with an event looks at every resource."""

from __future__ import annotations

import heapq

import numpy as np


def run_reference(
    resource: np.ndarray,
    duration: np.ndarray,
    indegree: np.ndarray,
    succ_start: np.ndarray,
    succ: np.ndarray,
    take_start: np.ndarray,
    take_pool: np.ndarray,
    take_amount: np.ndarray,
    give_start: np.ndarray,
    give_pool: np.ndarray,
    give_amount: np.ndarray,
    servers: np.ndarray,
    pool_capacity: np.ndarray,
    ready: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
) -> int:
    """Run a task graph to its end; arguments and results are those of `event_wheel.run_wheel`."""
    tasks = range(len(resource))
    successors = [succ[succ_start[i] : succ_start[i + 1]].tolist() for i in tasks]
    takes = _demands(take_start, take_pool, take_amount)
    gives = _demands(give_start, give_pool, give_amount)
    open_predecessors = indegree.tolist()
    free = servers.tolist()
    credits = pool_capacity.tolist()
    queues: list[list[tuple[int, int]]] = [[] for _ in servers]
    events: list[tuple[int, int]] = []
    for output in (ready, start, end):
        output[:] = -1

    def become_ready(task: int, now: int) -> None:
        ready[task] = now
        heapq.heappush(queues[resource[task]], (now, task))

    def start_tasks(now: int) -> None:
        for r, queue in enumerate(queues):
            while queue and free[r] > 0:
                task = queue[0][1]
                if any(credits[pool] < amount for pool, amount in takes[task].items()):
                    break
                heapq.heappop(queue)
                free[r] -= 1
                for pool, amount in takes[task].items():
                    credits[pool] -= amount
                start[task] = now
                end[task] = now + duration[task]
                heapq.heappush(events, (int(end[task]), task))

    for task in tasks:
        if open_predecessors[task] == 0:
            become_ready(task, 0)
    start_tasks(0)
    completed = 0
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            task = heapq.heappop(events)[1]
            completed += 1
            free[resource[task]] += 1
            for pool, amount in gives[task].items():
                credits[pool] += amount
            for successor in successors[task]:
                open_predecessors[successor] -= 1
                if open_predecessors[successor] == 0:
                    become_ready(successor, now)
        start_tasks(now)
    return completed


def _demands(first: np.ndarray, pool: np.ndarray, amount: np.ndarray) -> list[dict[int, int]]:
    """Credits per task as {pool: amount}; a pool that stands twice counts with the sum."""
    demands: list[dict[int, int]] = []
    for i in range(len(first) - 1):
        demand: dict[int, int] = {}
        for k in range(first[i], first[i + 1]):
            demand[int(pool[k])] = demand.get(int(pool[k]), 0) + int(amount[k])
        demands.append(demand)
    return demands
