"""ADC ranges from calibration images, seen by an ideal copy of the chip at every timestep and
window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import RangeCalibration, Steps
from imcsim.functional.forward import Array, ideal_model, run_batch, sums_scratch
from imcsim.mapping import LayerMapping, Mapping

BATCH = 16


class _HistogramObserver:
    """Counts every column sum of every weight layer."""

    def __init__(self, mapping: Mapping):
        self.model = ideal_model(mapping)
        self.ranges = RangeCalibration(mapping)

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        from imcsim.kernels.crossbar import column_sum_histogram

        mapping, cells = self.model.mapping, self.model.cells[placed.index]
        column_sum_histogram(
            inputs, placed.layer.input_bits, placed.layer.window, placed.layer.stride,
            placed.crossbar_rows, cells.levels, len(mapping.slicing.planes),
            self.ranges.histogram(placed.index), sums_scratch(mapping, cells),
        )  # fmt: skip

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        pass


def observe_ranges(
    mapping: Mapping, images: npt.NDArray[np.uint8], timesteps: int
) -> RangeCalibration:
    """Run calibration images through ideal crossbars and keep the histogram of all column sums.

    Parameters
    ----------
    images : uint8 (n, c, h, w) or (n, t, c, h, w); of the training split, never evaluated ones.
    timesteps : T.
    """
    observer = _HistogramObserver(mapping)
    for start in range(0, len(images), BATCH):
        run_batch(observer.model, images[start : start + BATCH], timesteps, observer)
    return observer.ranges


def calibrated_steps(mapping: Mapping, images: npt.NDArray[np.uint8], timesteps: int) -> Steps:
    """ADC steps of the chip's converters, from its `adc.percentile` and the first
    `adc.calibration_images`."""
    adc = mapping.chip.adc
    ranges = observe_ranges(mapping, images[: adc.calibration_images], timesteps)
    return ranges.steps(adc.bits, adc.percentile)
