"""What was done, how often: the seam between function, time and energy.

An `Activity` counts actions per image, timestep and layer; it knows neither spikes nor joules nor
seconds. So a chip can be re-priced without running the spikes again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

FIXED_ACTIONS: dict[str, str] = {
    "crossbar_read": "one read of one crossbar: one input bit per row, all columns converted",
    "shift_add": "one ADC code shifted and added",
    "popcount_bit": "one input bit counted for the correction of offset-coded weights",
    "pe_add_bit": "one bit of a partial sum added in a PE's accumulator",
    "tile_add_bit": "one bit added in a tile's accumulator",
    "global_add_bit": "one bit added in a home tile's global accumulator",
    "pe_buffer_write_bit": "one bit written to a PE buffer",
    "pe_buffer_read_bit": "one bit read from a PE buffer",
    "tile_buffer_write_bit": "one bit written to a tile buffer",
    "tile_buffer_read_bit": "one bit read from a tile buffer",
    "global_buffer_write_bit": "one bit written to the global buffer",
    "global_buffer_read_bit": "one bit read from the global buffer",
    "pe_htree_bit": "one bit carried over the H-tree of a PE, root to leaf or back",
    "tile_htree_bit": "one bit carried over the H-tree of a tile, root to leaf or back",
    "router_bit": "one bit through one mesh router",
    "link_bit": "one bit over one mesh link",
    "lif_update": "one neuron updated",
    "membrane_read_bit": "one bit of membrane potential read",
    "membrane_write_bit": "one bit of membrane potential written",
    "current_read_bit": "one bit of a kept first-layer current read",
    "current_write_bit": "one bit of a kept first-layer current written",
    "pool": "one output of a pooling unit",
    "image_load_bit": "one bit of an image loaded from outside the chip",
}
"""Actions whose number follows from the mapping alone, with the meaning of one."""

MEASURED_ACTIONS: dict[str, str] = {
    "row_activation": "one word line driven in one crossbar read",
    "cell_conductance": "1/16 level of conductance at an active word line, summed over a read",
    "busy_read": "one crossbar read with at least one active word line; the others are idle",
}
"""Actions whose number depends on the spikes."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Action counts of a run.

    n = images, t = timesteps, l = layers, a = `FIXED_ACTIONS`, m = `MEASURED_ACTIONS`.
    """

    layers: tuple[str, ...]
    fixed_once: Counts
    """int64 (l, a): once per image."""
    fixed_step: Counts
    """int64 (l, a): in every timestep."""
    measured_once: Counts
    """int64 (n, l, m): once per image."""
    measured_step: Counts
    """int64 (n, t, l, m): per timestep; 0 where the image had exited and was not simulated."""
    simulated: Counts
    """int64 (n,): timesteps that were simulated per image."""

    @property
    def images(self) -> int:
        return len(self.measured_step)

    @property
    def timesteps(self) -> int:
        return int(self.measured_step.shape[1])

    def alive(self) -> npt.NDArray[np.bool_]:
        """bool (n, t): which images were simulated at which timestep."""
        simulated: npt.NDArray[np.bool_] = np.arange(self.timesteps) < self.simulated[:, None]
        return simulated

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All counts with their names, for ``activity.npz``."""
        return {
            "layers": np.array(self.layers),
            "fixed_actions": np.array(list(FIXED_ACTIONS)),
            "measured_actions": np.array(list(MEASURED_ACTIONS)),
            "fixed_once": self.fixed_once,
            "fixed_step": self.fixed_step,
            "measured_once": self.measured_once,
            "measured_step": self.measured_step,
            "simulated": self.simulated,
        }
