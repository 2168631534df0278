"""Speed of the discrete-event engines on a task graph of the size of VGG-16 for one timestep.

    python benchmarks/event_engine.py [--repeats N] [--python]

The graph: 13 convolutions on 64x64 crossbars with two cells per weight (7184 crossbars, 154112
reads). Each read goes read -> convert -> shift-and-add -> bus -> accumulate (one per position and
tile) -> neuron (one per position). A read takes the sample-and-hold of its crossbar, which the
conversion gives back.
Layers overlap: a read waits for the last position of the previous layer that its window covers.
Durations are illustrative. The baseline of every ratio is measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imcsim.kernels.event_heap import run_heap
from imcsim.kernels.event_wheel import run_wheel

# (input channels, output channels, width of the square output map) of VGG-16 on CIFAR-10.
VGG16 = (
    (3, 64, 32),
    (64, 64, 32),
    (64, 128, 16),
    (128, 128, 16),
    (128, 256, 8),
    (256, 256, 8),
    (256, 256, 8),
    (256, 512, 4),
    (512, 512, 4),
    (512, 512, 4),
    (512, 512, 2),
    (512, 512, 2),
    (512, 512, 2),
)
CROSSBARS_PER_PE = 16
CROSSBARS_PER_TILE = 64
READ, CONVERT, SHIFT_ADD, BUS, ACCUMULATE, NEURON = 4, 8, 1, 2, 1, 2


@dataclass
class GraphBuilder:
    """Tasks, edges and credits as lists of arrays, one per group of equal tasks."""

    tasks: int = 0
    resources: int = 0
    resource: list[np.ndarray] = field(default_factory=list)
    duration: list[np.ndarray] = field(default_factory=list)
    edges: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    takes: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    gives: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pools: int = 0

    def add_tasks(self, local_resource: np.ndarray, resources: int, cycles: int) -> np.ndarray:
        """Add one task per entry on `resources` new resources; return the ids, same shape."""
        ids = self.tasks + np.arange(local_resource.size).reshape(local_resource.shape)
        self.resource.append(self.resources + local_resource.ravel())
        self.duration.append(np.full(local_resource.size, cycles))
        self.tasks += local_resource.size
        self.resources += resources
        return ids

    def add_edges(self, before: np.ndarray, after: np.ndarray) -> None:
        before, after = np.broadcast_arrays(before, after)
        self.edges.append((before.ravel(), after.ravel()))

    def arguments(self) -> tuple[np.ndarray, ...]:
        """Return the arguments of the engines, without the outputs."""
        before, after = (np.concatenate(side) for side in zip(*self.edges, strict=True))
        succ_start, succ = _csr(self.tasks, before, after)
        take_start, take_pool = _csr(
            self.tasks, *map(np.concatenate, zip(*self.takes, strict=True))
        )
        give_start, give_pool = _csr(
            self.tasks, *map(np.concatenate, zip(*self.gives, strict=True))
        )
        return (
            np.concatenate(self.resource).astype(np.int32),
            np.concatenate(self.duration).astype(np.int32),
            np.bincount(after, minlength=self.tasks).astype(np.int32),
            succ_start,
            succ,
            take_start,
            take_pool,
            np.ones(take_pool.size, np.int64),
            give_start,
            give_pool,
            np.ones(give_pool.size, np.int64),
            np.ones(self.resources, np.int32),
            np.ones(self.pools, np.int64),
        )


def _csr(rows: int, row: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(row, kind="stable")
    start = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=start[1:])
    return start, value[order].astype(np.int32)


def add_layer(
    graph: GraphBuilder, c_in: int, c_out: int, width: int, previous: np.ndarray | None
) -> np.ndarray:
    """Add one convolution; return its neuron tasks as an array (width, width)."""
    crossbars = -(-9 * c_in // 64) * -(-c_out * 2 // 64)
    tiles = -(-crossbars // CROSSBARS_PER_TILE)
    position, crossbar = np.meshgrid(np.arange(width**2), np.arange(crossbars), indexing="ij")
    read = graph.add_tasks(crossbar, crossbars, READ)
    convert = graph.add_tasks(crossbar, crossbars, CONVERT)
    pes = -(-crossbars // CROSSBARS_PER_PE)
    shift_add = graph.add_tasks(crossbar // CROSSBARS_PER_PE, pes, SHIFT_ADD)
    bus = graph.add_tasks(crossbar // CROSSBARS_PER_PE, pes, BUS)
    tile = np.broadcast_to(np.arange(tiles), (width**2, tiles))
    accumulate = graph.add_tasks(tile, tiles, ACCUMULATE)
    neuron = graph.add_tasks(np.zeros(width**2, np.int64), 1, NEURON)
    graph.add_edges(read, convert)
    graph.add_edges(convert, shift_add)
    graph.add_edges(shift_add, bus)
    graph.add_edges(bus, accumulate[position, crossbar // CROSSBARS_PER_TILE])
    graph.add_edges(accumulate, neuron[:, None])
    graph.takes.append((read.ravel(), graph.pools + crossbar.ravel()))
    graph.gives.append((convert.ravel(), graph.pools + crossbar.ravel()))
    graph.pools += crossbars
    if previous is not None:
        stride = previous.shape[0] // width
        last = np.minimum((np.arange(width) + 1) * stride + 1, previous.shape[0]) - 1
        graph.add_edges(previous[np.ix_(last, last)].reshape(-1, 1), read)
    return neuron.reshape(width, width)


def build_graph(layers: tuple[tuple[int, int, int], ...] = VGG16) -> tuple[np.ndarray, ...]:
    """Return the arguments of the engines, without the outputs, for a network of `layers`."""
    graph = GraphBuilder()
    previous = None
    for c_in, c_out, width in layers:
        previous = add_layer(graph, c_in, c_out, width, previous)
    return graph.arguments()


def measure(engine: Callable[..., int], arguments: tuple[np.ndarray, ...], repeats: int) -> float:
    """Return the median wall time of one run [s]; the first run compiles and does not count."""
    n = arguments[0].size
    outputs = [np.empty(n, np.int64) for _ in range(3)]
    seconds = []
    for _ in range(repeats + 1):
        before = time.perf_counter()
        completed = engine(*arguments, *outputs)
        seconds.append(time.perf_counter() - before)
        if completed != n:
            raise RuntimeError(f"{engine.__name__} completed {completed} of {n} tasks")
    return statistics.median(seconds[1:])


def print_table(
    title: str,
    arguments: tuple[np.ndarray, ...],
    engines: dict[str, Callable[..., int]],
    repeats: int,
) -> None:
    """Measure each engine on one graph; the first one is the baseline."""
    n = arguments[0].size
    print(f"{title}: {n} tasks, {arguments[4].size} edges, {arguments[11].size} resources")
    print(f"{'engine':<10}{'ms':>10}{'M tasks/s':>12}{'ratio':>8}")
    baseline = 0.0
    for name, engine in engines.items():
        seconds = measure(engine, arguments, repeats)
        baseline = baseline or seconds
        print(f"{name:<10}{1e3 * seconds:10.2f}{n / seconds / 1e6:12.2f}{seconds / baseline:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11, help="measured runs per engine")
    parser.add_argument(
        "--python", action="store_true", help="also the pure-Python twin, first 2 layers"
    )
    options = parser.parse_args()
    engines: dict[str, Callable[..., int]] = {"wheel": run_wheel, "heap": run_heap}
    print_table("VGG-16", build_graph(), engines, options.repeats)
    if options.python:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from tests.reference.event_engine import run_reference

        small = build_graph(((3, 16, 16), (16, 16, 16)))
        print_table("two layers", small, {"wheel": run_wheel, "python": run_reference}, 3)


if __name__ == "__main__":
    main()
