"""Discrete-event engine on a timing wheel: when does every task start and end?

The rule, which makes the result independent of engine, machine and container order. In a cycle t:

1. All completions of t: the server is released, credits are given back, successors count down.
   A task without open predecessors is *ready* at t and queues at its resource.
2. Resources start tasks, in order of (ready cycle, task id), while they have a free server.
   A task takes its server and all its credits at once or not at all; a head without credit blocks
   those behind it. Resources that compete for one pool are served in ascending resource id.

Credits are only given in phase 1 and durations are at least one cycle, so no resource has to be
visited twice in a cycle, and resources that share no pool may be visited in any order.

Why it is fast:

- Events: a ring of lists, one per cycle of the longest duration (Varghese and Lauck, SOSP 1987).
- A blocked resource watches one pool that it lacks. It cannot start before that pool is given
  credits, so one registration loses no wake-up, however many pools the head needs.
- A resource is a *rival* if it takes from a pool that another resource takes from as well. Only
  rivals need the ascending order; all others, most of a chip, are served as they come.
- Rivals that watch a pool are a pairing heap by resource id (Fredman et al., Algorithmica 1, 1986).
  They are woken one after the other and only while credits are left: a crowd at a full buffer
  costs nothing.
- Numba counts the references of arrays in every function that passes arrays on, with atomic
  instructions: called per task, that takes longer than the task. The loops over tasks
  (`_end_tasks`, `_serve`) therefore call nothing and are long.
"""

from __future__ import annotations

import numpy as np

from imcsim.kernels._jit import kernel

# Columns of `resources`, int32 (r, 8): what one visit of a resource touches is one half cache line.
FREE = 0  # free servers
HEAD = 1  # first task of the queue, -1: none
TAIL = 2  # last task of the queue, -1: none
BEFORE = 3  # last task that was queued before this cycle, -1: none
MODE = 4  # IDLE, TOUCHED or WATCHING
RIVAL = 5  # 1: takes from a pool that another resource takes from as well
UNSORTED = 6  # 1: the tasks queued in this cycle are not in order of their ids
LACKS = 7  # the pool that a blocked resource watches, -1: none
RESOURCE_COLUMNS = 8

IDLE = 0
TOUCHED = 1
WATCHING = 2  # the head lacks credits; nothing but the watched pool can help

# Columns of `pools`, int64 (p, 4).
CREDITS = 0  # available now
LEAST = 1  # smallest amount that any task takes at once
WATCHER = 2  # the resource that watches, or the root of the heap of the rivals that do, -1: none
WAKING = 3  # 1: credits were given in this cycle, the rivals are being woken
POOL_COLUMNS = 4

# Columns of `heap`, int32 (r, 2): pairing heaps of resources, each in one of them at most.
CHILD = 0
SIBLING = 1

# Rows of `lists`, int32 (5, max(r, p)), whose lengths are kept in `counts`.
AT_ONCE = 0  # touched resources that may be served in any order
RIVALS = 1  # touched rivals
GIVEN = 2  # pools that were given credits and are watched by rivals
DISORDER = 3  # resources whose tasks of this cycle need sorting
LISTS = 4

# Entries of `counts`, int64; the first ones are the lengths of the lists.
PENDING = 4  # tasks in the ring
COMPLETED = 5
COUNTS = 6

# Empty stretches of the ring are skipped in blocks of 2**BLOCK_BITS cycles.
BLOCK_BITS = 6


@kernel
def _meld(a, b, heap):
    """Join two pairing heaps of resources, -1 if empty, and return the root, the smallest id."""
    root = max(a, b)
    if a >= 0 and b >= 0:
        root = min(a, b)
        other = max(a, b)
        heap[other, SIBLING] = heap[root, CHILD]
        heap[root, CHILD] = other
    return root


@kernel
def _without_root(root, heap):
    """Take the smallest id out of a pairing heap and return the new root, -1 if nothing is left."""
    node = np.int64(heap[root, CHILD])
    heap[root, CHILD] = -1
    pairs = np.int64(-1)
    while node >= 0:
        # `_meld`, written out here and below: a call would make this function count references.
        other = np.int64(heap[node, SIBLING])
        following = np.int64(-1)
        if other >= 0:
            following = np.int64(heap[other, SIBLING])
            node, other = min(node, other), max(node, other)
            heap[other, SIBLING] = heap[node, CHILD]
            heap[node, CHILD] = other
        heap[node, SIBLING] = pairs
        pairs = node
        node = following
    root = pairs
    if root >= 0:
        pairs = np.int64(heap[root, SIBLING])
        while pairs >= 0:
            following = np.int64(heap[pairs, SIBLING])
            root, other = min(root, pairs), max(root, pairs)
            heap[other, SIBLING] = heap[root, CHILD]
            heap[root, CHILD] = other
            pairs = following
    return root


@kernel
def _end_tasks(
    now,
    resource,
    succ_start,
    succ,
    give_start,
    give_pool,
    give_amount,
    ready,
    open_predecessors,
    link,
    resources,
    pools,
    lists,
    ring,
    block_tasks,
    counts,
):
    """Phase 1: everything that ends in cycle `now`; the order within it makes no difference."""
    slot = now & (ring.size - 1)
    last = np.int64(ring[slot])
    following = np.int64(link[last])
    ring[slot] = -1
    ended = 0
    task = np.int64(-1)
    while task != last:
        task = following
        following = np.int64(link[task])
        ended += 1
        r = np.int64(resource[task])
        resources[r, FREE] += 1
        if resources[r, MODE] == IDLE and resources[r, HEAD] >= 0:
            resources[r, MODE] = TOUCHED
            kind = resources[r, RIVAL]
            lists[kind, counts[kind]] = r
            counts[kind] += 1
        for k in range(give_start[task], give_start[task + 1]):
            pool = np.int64(give_pool[k])
            pools[pool, CREDITS] += give_amount[k]
            r = pools[pool, WATCHER]
            if r < 0 or pools[pool, WAKING] == 1:
                continue
            if resources[r, RIVAL]:
                pools[pool, WAKING] = 1
                lists[GIVEN, counts[GIVEN]] = pool
                counts[GIVEN] += 1
            else:
                pools[pool, WATCHER] = -1
                resources[r, MODE] = TOUCHED
                lists[AT_ONCE, counts[AT_ONCE]] = r
                counts[AT_ONCE] += 1
        for k in range(succ_start[task], succ_start[task + 1]):
            successor = np.int64(succ[k])
            open_predecessors[successor] -= 1
            if open_predecessors[successor] > 0:
                continue
            ready[successor] = now
            link[successor] = -1
            r = np.int64(resource[successor])
            tail = np.int64(resources[r, TAIL])
            resources[r, TAIL] = successor
            if tail < 0:
                resources[r, HEAD] = successor
                resources[r, BEFORE] = -1
            else:
                link[tail] = successor
                if ready[tail] != now:
                    resources[r, BEFORE] = tail
                elif tail > successor and resources[r, UNSORTED] == 0:
                    resources[r, UNSORTED] = 1
                    lists[DISORDER, counts[DISORDER]] = r
                    counts[DISORDER] += 1
            if resources[r, MODE] == IDLE and resources[r, FREE] > 0:
                resources[r, MODE] = TOUCHED
                kind = resources[r, RIVAL]
                lists[kind, counts[kind]] = r
                counts[kind] += 1
    block_tasks[slot >> BLOCK_BITS] -= ended
    counts[PENDING] -= ended
    counts[COMPLETED] += ended


@kernel
def _sort_arrivals(link, resources, lists, counts, ids):
    """Bring the tasks that became ready in this cycle into the order of their ids, per resource."""
    for i in range(counts[DISORDER]):
        r = lists[DISORDER, i]
        before = resources[r, BEFORE]
        task = resources[r, HEAD] if before < 0 else link[before]
        size = 0
        while task >= 0:
            ids[size] = task
            size += 1
            task = link[task]
        ids[:size].sort()
        if before < 0:
            resources[r, HEAD] = ids[0]
        else:
            link[before] = ids[0]
        for k in range(size - 1):
            link[ids[k]] = ids[k + 1]
        link[ids[size - 1]] = -1
        resources[r, TAIL] = ids[size - 1]
        resources[r, UNSORTED] = 0
    counts[DISORDER] = 0


@kernel
def _serve(
    kind,
    now,
    duration,
    take_start,
    take_pool,
    take_amount,
    start,
    end,
    link,
    resources,
    pools,
    lists,
    ring,
    block_tasks,
    counts,
):
    """Start the tasks of all resources of one list; note the pool that each blocked one lacks."""
    mask = ring.size - 1
    started = 0
    for i in range(counts[kind]):
        r = np.int64(lists[kind, i])
        resources[r, MODE] = IDLE
        resources[r, LACKS] = -1
        while resources[r, FREE] > 0 and resources[r, HEAD] >= 0:
            task = np.int64(resources[r, HEAD])
            first = take_start[task]
            for k in range(first, take_start[task + 1]):
                pool = take_pool[k]
                if pools[pool, CREDITS] < take_amount[k]:
                    # Taken one by one and handed back: a pool may stand twice in the list.
                    for j in range(first, k):
                        pools[take_pool[j], CREDITS] += take_amount[j]
                    resources[r, LACKS] = pool
                    break
                pools[pool, CREDITS] -= take_amount[k]
            if resources[r, LACKS] >= 0:
                resources[r, MODE] = WATCHING
                if resources[r, RIVAL] == 0:
                    pools[resources[r, LACKS], WATCHER] = r
                break
            started += 1
            resources[r, FREE] -= 1
            resources[r, HEAD] = link[task]
            if resources[r, HEAD] < 0:
                resources[r, TAIL] = -1
            finish = now + duration[task]
            start[task] = now
            end[task] = finish
            # The ring keeps the last task of a circular list: tasks that start in ascending order
            # also end in it, and their successors seldom need sorting.
            slot = finish & mask
            last = ring[slot]
            if last < 0:
                link[task] = task
            else:
                link[task] = link[last]
                link[last] = task
            ring[slot] = task
            block_tasks[slot >> BLOCK_BITS] += 1
    counts[kind] = 0
    counts[PENDING] += started


@kernel
def _serve_rivals(
    now,
    duration,
    take_start,
    take_pool,
    take_amount,
    start,
    end,
    link,
    resources,
    pools,
    heap,
    blocked,
    woken_by,
    lists,
    ring,
    block_tasks,
    counts,
):
    """Serve the touched rivals, and those whose pool was given credits, in ascending id."""
    turn = np.int64(-1)
    for i in range(counts[RIVALS]):
        r = np.int64(lists[RIVALS, i])
        woken_by[r] = -1
        turn = _meld(turn, r, heap)
    n_given = counts[GIVEN]
    counts[GIVEN] = 0
    n_blocked = 0
    visited = np.int64(-1)
    given = 0
    while True:
        # A pool wakes its lowest watcher first, the next one after that one's visit.
        pool = np.int64(-1)
        if given < n_given:
            pool = np.int64(lists[GIVEN, given])
            given += 1
        elif visited >= 0:
            pool = np.int64(woken_by[visited])
            visited = np.int64(-1)
        if pool >= 0:
            r = pools[pool, WATCHER]
            if r >= 0 and pools[pool, CREDITS] >= pools[pool, LEAST]:
                pools[pool, WATCHER] = _without_root(r, heap)
                woken_by[r] = pool
                turn = _meld(turn, r, heap)
            else:
                pools[pool, WAKING] = 0
            continue
        if turn < 0:
            break
        visited = turn
        turn = _without_root(turn, heap)
        lists[RIVALS, 0] = visited
        counts[RIVALS] = 1
        _serve(
            np.int64(RIVALS),
            now,
            duration,
            take_start,
            take_pool,
            take_amount,
            start,
            end,
            link,
            resources,
            pools,
            lists,
            ring,
            block_tasks,
            counts,
        )
        if resources[visited, LACKS] >= 0:
            blocked[n_blocked] = visited
            n_blocked += 1
    # Only now: a pool that still wakes others would find the same resource again and again.
    for i in range(n_blocked):
        r = np.int64(blocked[i])
        pool = resources[r, LACKS]
        pools[pool, WATCHER] = _meld(pools[pool, WATCHER], r, heap)


@kernel
def _next_cycle(now, ring, block_tasks):
    """First cycle after `now` in which a task ends; there must be one."""
    block = 1 << BLOCK_BITS
    cycle = now + 1
    slot = cycle & (ring.size - 1)
    while ring[slot] < 0:
        cycle += 1 if block_tasks[slot >> BLOCK_BITS] > 0 else block - (slot & (block - 1))
        slot = cycle & (ring.size - 1)
    return cycle


@kernel
def _prepare_pools(resource, take_start, take_pool, take_amount, pools, resources):
    """Find the smallest amount taken from each pool, and the rivals."""
    owner = np.full(pools.shape[0], -1, np.int32)
    shared = np.zeros(pools.shape[0], np.bool_)
    for task in range(resource.size):
        for k in range(take_start[task], take_start[task + 1]):
            pool = take_pool[k]
            if owner[pool] < 0:
                owner[pool] = resource[task]
                pools[pool, LEAST] = take_amount[k]
            shared[pool] |= owner[pool] != resource[task]
            pools[pool, LEAST] = min(pools[pool, LEAST], take_amount[k])
    for task in range(resource.size):
        for k in range(take_start[task], take_start[task + 1]):
            if shared[take_pool[k]]:
                resources[resource[task], RIVAL] = 1


@kernel
def _ring_size(duration):
    """Smallest power of two above the longest duration, one block at least."""
    size = 1 << BLOCK_BITS
    for cycles in duration:
        if cycles < 1:
            raise ValueError("every task must take one cycle at least")
        while size <= cycles:
            size *= 2
    return size


@kernel
def _enqueue_roots(indegree, resource, ready, link, resources, lists, counts):
    """Queue the tasks without predecessors, all ready at cycle 0."""
    for task in range(indegree.size):
        if indegree[task] > 0:
            continue
        r = np.int64(resource[task])
        ready[task] = 0
        link[task] = -1
        if resources[r, TAIL] < 0:
            resources[r, HEAD] = task
            resources[r, MODE] = TOUCHED
            kind = resources[r, RIVAL]
            lists[kind, counts[kind]] = r
            counts[kind] += 1
        else:
            link[resources[r, TAIL]] = task
        resources[r, TAIL] = task


@kernel
def run_wheel(
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
    """Run a task graph to its end; the rule of the two-phase cycle is that of the module.

    The ring has as many entries as the longest duration, rounded up to a power of two. Above
    2**16 cycles use `event_heap.run_heap`, which has the same arguments and the same results.

    Parameters
    ----------
    resource : int32 (n,)
        Resource that executes each task; n < 2**31.
    duration : int32 or int64 (n,)
        Cycles, at least 1.
    indegree : int32 (n,)
        Number of predecessors, as `succ` counts them. Not changed.
    succ_start, succ : int64 (n + 1,), int32
        Successors of task i: ``succ[succ_start[i]:succ_start[i + 1]]``.
    take_start, take_pool, take_amount : int64 (n + 1,), int32, int64
        Credits that a task takes when it starts, in the same form; amounts >= 0.
    give_start, give_pool, give_amount : int64 (n + 1,), int32, int64
        Credits that a task gives when it ends; not limited to the capacity of the pool.
    servers : int32 (r,)
        Tasks that each resource can execute at the same time.
    pool_capacity : int64 (p,)
        Credits of each pool at cycle 0.
    ready, start, end : int64 (n,)
        Output [cycles], overwritten; -1 where it never happened.

    Returns
    -------
    int
        Number of completed tasks. Fewer than n: a deadlock; tasks with ``ready >= 0`` and
        ``start < 0`` wait for a server or for credits, those with ``ready < 0`` for other tasks.

    Raises
    ------
    ValueError
        A duration is below one cycle.
    """
    n = resource.size
    open_predecessors = indegree.astype(np.int32)
    # The next task of a queue, or of a cycle of the ring: a task is only in one of them at a time.
    link = np.empty(n, np.int32)
    ids = np.empty(n, np.int32)
    resources = np.zeros((servers.size, RESOURCE_COLUMNS), np.int32)
    resources[:, FREE] = servers
    resources[:, HEAD] = -1
    resources[:, TAIL] = -1
    resources[:, BEFORE] = -1
    heap = np.full((servers.size, 2), -1, np.int32)
    blocked = np.empty(servers.size, np.int32)
    woken_by = np.empty(servers.size, np.int32)
    pools = np.zeros((pool_capacity.size, POOL_COLUMNS), np.int64)
    pools[:, CREDITS] = pool_capacity
    pools[:, WATCHER] = -1
    _prepare_pools(resource, take_start, take_pool, take_amount, pools, resources)
    lists = np.empty((LISTS, max(servers.size, pool_capacity.size)), np.int32)
    counts = np.zeros(COUNTS, np.int64)
    size = _ring_size(duration)
    ring = np.full(size, -1, np.int32)
    block_tasks = np.zeros(size >> BLOCK_BITS, np.int32)
    ready[:] = -1
    start[:] = -1
    end[:] = -1

    now = np.int64(0)
    _enqueue_roots(indegree, resource, ready, link, resources, lists, counts)
    while True:
        _serve(
            np.int64(AT_ONCE),
            now,
            duration,
            take_start,
            take_pool,
            take_amount,
            start,
            end,
            link,
            resources,
            pools,
            lists,
            ring,
            block_tasks,
            counts,
        )
        if counts[RIVALS] > 0 or counts[GIVEN] > 0:
            _serve_rivals(
                now,
                duration,
                take_start,
                take_pool,
                take_amount,
                start,
                end,
                link,
                resources,
                pools,
                heap,
                blocked,
                woken_by,
                lists,
                ring,
                block_tasks,
                counts,
            )
        if counts[PENDING] == 0:
            return counts[COMPLETED]
        now = _next_cycle(now, ring, block_tasks)
        _end_tasks(
            now,
            resource,
            succ_start,
            succ,
            give_start,
            give_pool,
            give_amount,
            ready,
            open_predecessors,
            link,
            resources,
            pools,
            lists,
            ring,
            block_tasks,
            counts,
        )
        if counts[DISORDER] > 0:
            _sort_arrivals(link, resources, lists, counts, ids)
