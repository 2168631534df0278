"""Cycles of a whole inference."""

from __future__ import annotations

from typing import Any

import pytest

from imcsim.timing import TimingResult, simulate, time_inference
from imcsim.timing.network_graph import timestep_graph
from tests.small_networks import SMALL_NETWORKS
from tests.timing.checks import small_mapping


def timed(name: str, timesteps: int = 4, **overrides: Any) -> TimingResult:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return time_inference(small_mapping(name, keys), timesteps)


@pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
def test_equal_timesteps_take_equal_cycles(name: str) -> None:
    single, four = timed(name, 1), timed(name, 4)
    assert four.step_cycles == single.step_cycles * 4
    assert four.once_cycles == single.once_cycles


def test_a_timestep_takes_the_makespan_of_its_graph() -> None:
    mapping = small_mapping("residual")
    schedule = simulate(timestep_graph(mapping))
    result = time_inference(mapping, 3)
    assert result.step_cycles == (schedule.makespan,) * 3
    assert result.tasks == schedule.graph.tasks
    assert result.busy_cycles == schedule.busy_by_kind()
    assert sum(result.busy_cycles.values()) == schedule.graph.duration.sum()
    for index, layer in enumerate(result.layers):
        assert (layer.first_cycle, layer.last_cycle) == schedule.layer_span(index)
        assert (layer.bound_by, layer.occupancy) == schedule.busiest(index)
        assert 0 < layer.occupancy <= 1


@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "residual", "linear"])
def test_kept_currents_shorten_every_timestep_but_the_first(name: str) -> None:
    every, once = timed(name), timed(name, dataflow__first_layer="once")
    first, *later = once.step_cycles
    assert first <= every.step_cycles[0]
    assert len(set(later)) == 1 and len(later) == 3
    assert later[0] < first
    assert timed(name, 1, dataflow__first_layer="once").step_cycles == (first,)


@pytest.mark.parametrize(("io_bits", "cycles"), [(1, 576), (64, 9), (63, 10), (1000, 1)])
def test_a_static_image_is_loaded_once(io_bits: int, cycles: int) -> None:
    # 2×6×6 pixels of 8 bits
    result, wider = (timed("max_pool", 4, chip__io_bits=bits) for bits in (io_bits, 1000))
    assert result.once_cycles == cycles
    assert result.step_cycles == wider.step_cycles


def test_events_load_a_frame_in_every_timestep() -> None:
    # 2×6×6 counts of 0..3
    narrow, wide = timed("events", 3, chip__io_bits=1), timed("events", 3, chip__io_bits=144)
    assert narrow.once_cycles == wide.once_cycles == 0
    assert [a - b for a, b in zip(narrow.step_cycles, wide.step_cycles, strict=True)] == [143] * 3


def test_events_are_the_same_with_kept_currents() -> None:
    assert timed("events").step_cycles == timed("events", dataflow__first_layer="once").step_cycles
