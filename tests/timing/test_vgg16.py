"""The engines on a graph of the size they are built for."""

from __future__ import annotations

import numpy as np
import pytest

from imcsim.mapping import map_network
from imcsim.network.build import LayerSpec
from imcsim.timing.engine import Schedule, run_engine
from imcsim.timing.network_graph import timestep_graph
from tests.mapping.chips import rram64
from tests.small_networks import conv, linear, pool, random_network

CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of each convolution; 0 is a 2×2 max pool."""


@pytest.mark.needs_jit
def test_wheel_and_heap_agree_on_vgg16() -> None:
    specs: list[LayerSpec] = [
        conv(f"conv{i}", i - 1, c) if c else pool(f"pool{i}", i - 1, "max_pool")
        for i, c in enumerate(CHANNELS)
    ]
    specs.append(linear("fc", len(specs) - 1, 10))
    mapping = map_network(random_network(specs, (3, 32, 32)), rram64())
    graph = timestep_graph(mapping)
    assert mapping.tiles == 118
    # 1024 windows of the first layer are read 8 times instead of once.
    assert mapping.reads == 154_120 + 7 * 1024 * 2
    wheel, heap = (
        Schedule(graph, *(np.full(graph.tasks, -1, np.int64) for _ in range(3))) for _ in range(2)
    )
    assert run_engine(graph, wheel, wheel=True) == graph.tasks
    assert run_engine(graph, heap, wheel=False) == graph.tasks
    for name in ("ready", "start", "end"):
        np.testing.assert_array_equal(getattr(wheel, name), getattr(heap, name))
