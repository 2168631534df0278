"""Task graphs: what waits for what, on which resource, with which buffer space.

A graph is built block by block with numpy and then frozen into the struct of arrays that the engine
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

RESOURCE_KINDS = (
    "controller", "global_buffer", "noc", "tile_buffer", "tile_htree", "pe_htree", "crossbar",
    "adc",
    "shift_add", "pe_accumulator", "tile_accumulator", "global_accumulator", "lif", "pooling",
    "current_memory",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """Tasks 0..n − 1 with their resources, successors and credits (CSR), as
    `imcsim.kernels.event_wheel` takes them."""

    resource: npt.NDArray[np.int32]
    duration: Ids
    layer: npt.NDArray[np.int16]
    """Network layer of each task, for reports."""
    indegree: npt.NDArray[np.int32]
    succ_start: Ids
    succ: npt.NDArray[np.int32]
    take_start: Ids
    take_pool: npt.NDArray[np.int32]
    take_amount: Ids
    give_start: Ids
    give_pool: npt.NDArray[np.int32]
    give_amount: Ids
    servers: npt.NDArray[np.int32]
    resource_kind: npt.NDArray[np.int8]
    """Index into `RESOURCE_KINDS`."""
    pool_capacity: Ids
    pool_names: tuple[tuple[int, str], ...]
    """(first pool, name) of each block of pools, ascending; for messages."""

    @property
    def tasks(self) -> int:
        return len(self.resource)

    def kind_of_task(self) -> npt.NDArray[np.int8]:
        """int8 (tasks,): index into `RESOURCE_KINDS`."""
        kinds: npt.NDArray[np.int8] = self.resource_kind[self.resource]
        return kinds


@dataclass
class GraphBuilder:
    """Collects blocks of tasks, edges and credits."""

    _tasks: list[tuple[Ids, Ids, Ids]] = field(default_factory=list)
    _edges: list[tuple[Ids, Ids]] = field(default_factory=list)
    _takes: list[tuple[Ids, Ids, Ids]] = field(default_factory=list)
    _gives: list[tuple[Ids, Ids, Ids]] = field(default_factory=list)
    _kinds: list[Ids] = field(default_factory=list)
    _capacities: list[Ids] = field(default_factory=list)
    _pool_names: list[tuple[int, str]] = field(default_factory=list)
    _n_tasks: int = 0
    _n_resources: int = 0
    _n_pools: int = 0

    def resources(self, kind: str, count: int) -> int:
        """Add `count` single-server resources; returns the first id."""
        first = self._n_resources
        self._kinds.append(np.full(count, RESOURCE_KINDS.index(kind)))
        self._n_resources += count
        return first

    def unit_groups(self, kinds: Sequence[str], count: int) -> Ids:
        """Add `count` groups of neighbours, one resource of each kind; int64 (count, kinds)."""
        first = self._n_resources
        self._kinds.append(np.tile([RESOURCE_KINDS.index(kind) for kind in kinds], count))
        self._n_resources += count * len(kinds)
        return np.arange(first, self._n_resources).reshape(count, len(kinds))

    def pools(self, name: str, count: int, capacity: int) -> int:
        """Add `count` pools of `capacity` credits; returns the first id."""
        first = self._n_pools
        self._capacities.append(np.full(count, capacity, np.int64))
        self._pool_names.append((first, name))
        self._n_pools += count
        return first

    def tasks(
        self, layer: int, resource: npt.ArrayLike, duration: npt.ArrayLike, shape: tuple[int, ...]
    ) -> Ids:
        """Add tasks of the given shape (arguments broadcast); returns their ids, int64 of that
        shape."""
        count = int(np.prod(shape))
        ids = np.arange(self._n_tasks, self._n_tasks + count)
        flat = [
            np.broadcast_to(np.asarray(a, np.int64), shape).ravel() for a in (resource, duration)
        ]
        self._tasks.append((flat[0], flat[1], np.full(count, layer)))
        self._n_tasks += count
        return ids.reshape(shape)

    def edges(self, before: npt.ArrayLike, after: npt.ArrayLike) -> None:
        """`after` waits for `before`; arrays broadcast against each other."""
        a, b = np.broadcast_arrays(before, after)
        self._edges.append((a.ravel(), b.ravel()))

    def take(self, task: npt.ArrayLike, pool: npt.ArrayLike, amount: npt.ArrayLike) -> None:
        """Tasks take credits when they start."""
        self._takes.append(_flat(task, pool, amount))

    def give(self, task: npt.ArrayLike, pool: npt.ArrayLike, amount: npt.ArrayLike) -> None:
        """Tasks give credits back when they end."""
        self._gives.append(_flat(task, pool, amount))

    def build(self) -> TaskGraph:
        """Freeze."""
        resource, duration, layer = _columns(self._tasks, 3)
        before, after = _columns(self._edges, 2)
        succ_start, (succ,) = _csr(before, (after,), self._n_tasks)
        take_start, (take_pool, take_amount) = _csr(*_split(self._takes), self._n_tasks)
        give_start, (give_pool, give_amount) = _csr(*_split(self._gives), self._n_tasks)
        return TaskGraph(
            resource=resource.astype(np.int32),
            duration=duration,
            layer=layer.astype(np.int16),
            indegree=np.bincount(after, minlength=self._n_tasks).astype(np.int32),
            succ_start=succ_start,
            succ=succ.astype(np.int32),
            take_start=take_start,
            take_pool=take_pool.astype(np.int32),
            take_amount=take_amount,
            give_start=give_start,
            give_pool=give_pool.astype(np.int32),
            give_amount=give_amount,
            servers=np.ones(self._n_resources, np.int32),
            resource_kind=_columns([(k,) for k in self._kinds], 1)[0].astype(np.int8),
            pool_capacity=_columns([(c,) for c in self._capacities], 1)[0],
            pool_names=tuple(self._pool_names),
        )


def _flat(*arrays: npt.ArrayLike) -> tuple[Ids, Ids, Ids]:
    a, b, c = (x.ravel().astype(np.int64) for x in np.broadcast_arrays(*arrays))
    return a, b, c


def _columns(blocks: Sequence[tuple[Ids, ...]], width: int) -> list[Ids]:
    if not blocks:
        return [np.zeros(0, np.int64)] * width
    return [np.concatenate(column).astype(np.int64) for column in zip(*blocks, strict=True)]


def _split(blocks: list[tuple[Ids, Ids, Ids]]) -> tuple[Ids, tuple[Ids, Ids]]:
    task, pool, amount = _columns(blocks, 3)
    return task, (pool, amount)


def _csr(row: Ids, values: tuple[Ids, ...], rows: int) -> tuple[Ids, list[Ids]]:
    """Sort values by row (stable); returns row starts (rows + 1) and the sorted values."""
    order = np.argsort(row, kind="stable")
    start = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=start[1:])
    return start, [value[order] for value in values]
