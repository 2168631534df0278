"""Discrete-event engine on a binary heap: the rule and results of `event_wheel`, in a simpler way.

It serves durations for which a timing wheel would be too large, and it is the oracle of the wheel:
all touched resources are sorted and visited, all watchers of a pool are woken, all arrivals are
sorted. Its price is a logarithm per task, and a visit of every watcher whenever a crowded pool is
given credits.
"""

from __future__ import annotations

import numpy as np

from imcsim.kernels._jit import kernel

# Entries of `counts`: lengths of the lists.
ARRIVED = 0
TOUCHED = 1
STARTED = 2


@kernel
def _push(end, task, heap_end, heap_task, size):
    """Add an event to the heap, ordered by (end, task); return the new size."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if heap_end[parent] < end or (heap_end[parent] == end and heap_task[parent] < task):
            break
        heap_end[child] = heap_end[parent]
        heap_task[child] = heap_task[parent]
        child = parent
    heap_end[child] = end
    heap_task[child] = task
    return size + 1


@kernel
def _pop(heap_end, heap_task, size):
    """Remove the first event; return the new size."""
    size -= 1
    end = heap_end[size]
    task = heap_task[size]
    parent = 0
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        right = child + 1
        if right < size and (
            heap_end[right] < heap_end[child]
            or (heap_end[right] == heap_end[child] and heap_task[right] < heap_task[child])
        ):
            child = right
        if end < heap_end[child] or (end == heap_end[child] and task < heap_task[child]):
            break
        heap_end[parent] = heap_end[child]
        heap_task[parent] = heap_task[child]
        parent = child
    heap_end[parent] = end
    heap_task[parent] = task
    return size


@kernel
def _end_task(
    task,
    resource,
    succ_start,
    succ,
    give_start,
    give_pool,
    give_amount,
    open_predecessors,
    free,
    credits,
    watcher,
    next_watcher,
    watched,
    is_touched,
    touched,
    arrived,
    counts,
):
    """Phase 1 for one task: release, give, wake, and note the successors that become ready."""
    r = resource[task]
    free[r] += 1
    if not is_touched[r]:
        is_touched[r] = True
        touched[counts[TOUCHED]] = r
        counts[TOUCHED] += 1
    for k in range(give_start[task], give_start[task + 1]):
        pool = give_pool[k]
        credits[pool] += give_amount[k]
        r = watcher[pool]
        watcher[pool] = -1
        while r >= 0:
            watched[r] = -1
            if not is_touched[r]:
                is_touched[r] = True
                touched[counts[TOUCHED]] = r
                counts[TOUCHED] += 1
            r = next_watcher[r]
    for k in range(succ_start[task], succ_start[task + 1]):
        successor = succ[k]
        open_predecessors[successor] -= 1
        if open_predecessors[successor] == 0:
            arrived[counts[ARRIVED]] = successor
            counts[ARRIVED] += 1


@kernel
def _enqueue_arrivals(now, resource, ready, link, head, tail, is_touched, touched, arrived, counts):
    """Append the tasks that became ready, sorted by id, to their queues."""
    for i in range(counts[ARRIVED]):
        task = arrived[i]
        r = resource[task]
        ready[task] = now
        link[task] = -1
        if head[r] < 0:
            head[r] = task
        else:
            link[tail[r]] = task
        tail[r] = task
        if not is_touched[r]:
            is_touched[r] = True
            touched[counts[TOUCHED]] = r
            counts[TOUCHED] += 1
    counts[ARRIVED] = 0


@kernel
def _start_tasks(
    now,
    duration,
    take_start,
    take_pool,
    take_amount,
    start,
    end,
    link,
    head,
    free,
    credits,
    watcher,
    next_watcher,
    watched,
    is_touched,
    touched,
    started,
    counts,
):
    """Phase 2: visit the touched resources, sorted by id, and list the tasks that start."""
    for i in range(counts[TOUCHED]):
        r = touched[i]
        is_touched[r] = False
        lacking = -1
        while free[r] > 0 and head[r] >= 0:
            task = head[r]
            first = take_start[task]
            for k in range(first, take_start[task + 1]):
                if credits[take_pool[k]] < take_amount[k]:
                    for j in range(first, k):
                        credits[take_pool[j]] += take_amount[j]
                    lacking = take_pool[k]
                    break
                credits[take_pool[k]] -= take_amount[k]
            if lacking >= 0:
                break
            free[r] -= 1
            head[r] = link[task]
            start[task] = now
            end[task] = now + duration[task]
            started[counts[STARTED]] = task
            counts[STARTED] += 1
        # One pool is enough to watch: the head cannot start before that one is given credits.
        if lacking >= 0 and watched[r] < 0:
            watched[r] = lacking
            next_watcher[r] = watcher[lacking]
            watcher[lacking] = r
    counts[TOUCHED] = 0


@kernel
def run_heap(
    resource,
    duration,
    indegree,
    succ_start,
    succ,
    take_start,
    take_pool,
    take_amount,
    give_start,
    give_pool,
    give_amount,
    servers,
    pool_capacity,
    ready,
    start,
    end,
):
    """Run a task graph to its end; arguments, results and errors as `event_wheel.run_wheel`.

    Memory does not depend on the durations, which may be as long as int64 allows.
    """
    n = resource.size
    for task in range(n):
        if duration[task] < 1:
            raise ValueError("every task must take one cycle at least")
    open_predecessors = indegree.astype(np.int32)
    link = np.empty(n, np.int32)
    heap_end = np.empty(n, np.int64)
    heap_task = np.empty(n, np.int32)
    arrived = np.empty(n, np.int32)
    started = np.empty(n, np.int32)
    free = servers.astype(np.int32)
    head = np.full(servers.size, -1, np.int32)
    tail = np.full(servers.size, -1, np.int32)
    touched = np.empty(servers.size, np.int32)
    is_touched = np.zeros(servers.size, np.bool_)
    watched = np.full(servers.size, -1, np.int32)
    next_watcher = np.full(servers.size, -1, np.int32)
    watcher = np.full(pool_capacity.size, -1, np.int32)
    credits = pool_capacity.astype(np.int64)
    counts = np.zeros(3, np.int64)
    ready[:] = -1
    start[:] = -1
    end[:] = -1

    now = np.int64(0)
    completed = 0
    pending = np.int64(0)
    for task in range(n):
        if indegree[task] == 0:
            arrived[counts[ARRIVED]] = task
            counts[ARRIVED] += 1
    while True:
        arrived[: counts[ARRIVED]].sort()
        _enqueue_arrivals(
            now, resource, ready, link, head, tail, is_touched, touched, arrived, counts
        )
        touched[: counts[TOUCHED]].sort()
        _start_tasks(
            now,
            duration,
            take_start,
            take_pool,
            take_amount,
            start,
            end,
            link,
            head,
            free,
            credits,
            watcher,
            next_watcher,
            watched,
            is_touched,
            touched,
            started,
            counts,
        )
        for i in range(counts[STARTED]):
            task = np.int64(started[i])
            pending = _push(end[task], task, heap_end, heap_task, pending)
        counts[STARTED] = 0
        if pending == 0:
            return completed
        now = heap_end[0]
        while pending > 0 and heap_end[0] == now:
            task = np.int64(heap_task[0])
            pending = _pop(heap_end, heap_task, pending)
            completed += 1
            _end_task(
                task,
                resource,
                succ_start,
                succ,
                give_start,
                give_pool,
                give_amount,
                open_predecessors,
                free,
                credits,
                watcher,
                next_watcher,
                watched,
                is_touched,
                touched,
                arrived,
                counts,
            )
