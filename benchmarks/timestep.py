"""Speed of graph building and of both event engines on one real timestep of VGG-16.

    python benchmarks/timestep.py [--arch ARCH] [--workload FILE] [--repeats N] [--set KEY=VALUE]...

Where the workload is not there, VGG-16 gets random weights: a timestep without zero skipping takes
the same cycles whatever the weights are. Wheel and heap run in turn, so that both see the same
machine; the medians are printed. `event_engine.py` does the same on a synthetic graph.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imcsim.chip import load_chip
from imcsim.mapping import Mapping, map_network
from imcsim.network.layers import Network
from imcsim.network.workload import read_workload
from imcsim.timing.engine import Schedule, run_engine
from imcsim.timing.graph import TaskGraph
from imcsim.timing.network_graph import timestep_graph

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of each convolution; 0 is a 2×2 max pool."""


def random_vgg16() -> Network:
    """VGG-16 for CIFAR-10 with the random weights that the tests use."""
    sys.path.insert(0, str(ROOT))
    from tests.small_networks import conv, linear, pool, random_network

    specs = [
        conv(f"conv{i}", i - 1, c) if c else pool(f"pool{i}", i - 1, "max_pool")
        for i, c in enumerate(CHANNELS)
    ]
    return random_network([*specs, linear("fc", len(specs) - 1, 10)], (3, 32, 32), name="random")


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time [s] (one thread; other processes disturb it least) and result."""
    before = time.process_time()
    result = action()
    return time.process_time() - before, result


def build(mapping: Mapping, repeats: int) -> tuple[float, TaskGraph]:
    """Median time of building the graph [s], and the graph."""
    runs = [timed(lambda: timestep_graph(mapping)) for _ in range(repeats)]
    return statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def run(graph: TaskGraph, repeats: int) -> tuple[float, float, int]:
    """Median times of wheel and heap [s], and the makespan [cycles]; the first runs compile."""
    wheel, heap = (
        Schedule(graph, *(np.full(graph.tasks, -1, np.int64) for _ in range(3))) for _ in range(2)
    )
    seconds: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        fast, done = timed(lambda: run_engine(graph, wheel, wheel=True))
        slow, also_done = timed(lambda: run_engine(graph, heap, wheel=False))
        if not done == also_done == graph.tasks or (wheel.end != heap.end).any():
            raise RuntimeError("wheel and heap do not agree, or did not finish")
        seconds.append((fast, slow))
    medians = [statistics.median(column) for column in zip(*seconds[1:], strict=True)]
    return medians[0], medians[1], wheel.makespan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", type=Path, default=ROOT / "arch" / "rram64.yaml")
    parser.add_argument("--workload", type=Path, default=ROOT / "workloads" / "vgg16_cifar10.npz")
    parser.add_argument("--repeats", type=int, default=7, help="measured runs")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the chip")
    options = parser.parse_args()
    found = options.workload.exists()
    network = read_workload(options.workload).network if found else random_vgg16()
    print(f"{network.name} on {options.arch.name}, CPU time, medians of {options.repeats} runs")
    names = ("layers", "tasks", "edges", "resources", "build ms", "wheel ms", "heap ms",
             "M tasks/s", "wheel/heap", "makespan")  # fmt: skip
    print("".join(f"{name:>12}" for name in names))
    for mode in ("overlapped", "sequential"):
        chip = load_chip(options.arch, [*options.set, f"dataflow.layers={mode}"])
        built, graph = build(map_network(network, chip), options.repeats)
        wheel, heap, makespan = run(graph, options.repeats)
        print(
            f"{mode:>12}{graph.tasks:12,}{len(graph.succ):12,}{len(graph.servers):12,}"
            f"{1e3 * built:12.1f}{1e3 * wheel:12.1f}{1e3 * heap:12.1f}"
            f"{graph.tasks / wheel / 1e6:12.1f}{wheel / heap:12.2f}{makespan:12,}"
        )


if __name__ == "__main__":
    main()
