"""Cycles of an inference: once per image, and per timestep.

Without zero skipping every timestep of a layer takes the same cycles, whatever the spikes are, so
one timestep is simulated and reused (two with kept first-layer currents: the first and all later
ones).
"""

from __future__ import annotations

from dataclasses import dataclass

from imcsim.mapping import Mapping
from imcsim.timing.engine import Schedule, simulate
from imcsim.timing.network_graph import timestep_graph


@dataclass(frozen=True)
class LayerTiming:
    """Where one layer's part of a timestep lies."""

    first_cycle: int
    last_cycle: int
    bound_by: str
    """Kind of its most occupied resource; empty for a layer without tasks."""
    occupancy: float
    """Share of the layer's span in which that resource works."""


@dataclass(frozen=True, eq=False)
class TimingResult:
    """Cycles of one inference at any number of timesteps."""

    once_cycles: int
    """Loading a static image through the chip's port into the global buffer; 0 for events."""
    step_cycles: tuple[int, ...]
    """Cycles of timestep t = 1..T, with events the load of its frame among them.

    The σ-E module is not in it (a static network does not use it)."""
    layers: tuple[LayerTiming, ...]
    """Of the first timestep."""
    busy_cycles: dict[str, int]
    """Work per kind of resource in the first timestep."""
    tasks: int
    """Tasks of the first timestep."""


def time_inference(mapping: Mapping, timesteps: int) -> TimingResult:
    """Simulate a timestep on the chip's shared resources.

    Raises
    ------
    MappingError, DeadlockError
        If the chip cannot execute the network.
    """
    first = simulate(timestep_graph(mapping))
    later = first.makespan
    keeps = any(mapping.keeps_currents(placed.index) for placed in mapping.layers)
    if keeps and timesteps > 1:
        later = simulate(timestep_graph(mapping, reuse_first_currents=True)).makespan
    loading = load_cycles(mapping)
    # The global buffer need not hold two frames: the next one is loaded when a timestep is over.
    once, each = (0, loading) if mapping.network.encoding == "events" else (loading, 0)
    return TimingResult(
        once_cycles=once,
        step_cycles=(first.makespan + each,) + (later + each,) * (timesteps - 1),
        layers=tuple(_layer_timing(first, index) for index in range(len(mapping.network.layers))),
        busy_cycles=first.busy_by_kind(),
        tasks=first.graph.tasks,
    )


def load_cycles(mapping: Mapping) -> int:
    """Cycles to load one image, or one frame of events: ⌈bits / port width⌉."""
    return -(-mapping.image_bits // mapping.chip.chip.io_bits)


def _layer_timing(schedule: Schedule, index: int) -> LayerTiming:
    first, last = schedule.layer_span(index)
    kind, occupancy = schedule.busiest(index)
    return LayerTiming(first, last, kind, occupancy)
