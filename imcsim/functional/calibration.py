"""ADC ranges from calibration images, seen by an ideal copy of the chip at every timestep and
window."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import RangeCalibration, Steps, off_levels_seen, stated_steps
from imcsim.functional.forward import Array, ChipModel, ideal_model, run_batch, sums_scratch
from imcsim.functional.general_reads import count_sums, needs_general_reads
from imcsim.mapping import LayerMapping, Mapping

BATCH = 16


class _HistogramObserver:
    """Counts every column sum of every weight layer."""

    def __init__(self, model: ChipModel):
        self.model = model
        self.ranges = RangeCalibration(model.mapping)

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        from imcsim.kernels.crossbar import column_sum_histogram

        mapping, cells = self.model.mapping, self.model.cells[placed.index]
        histogram = self.ranges.histogram(placed.index)
        if needs_general_reads(mapping):
            off = off_levels_seen(mapping.chip)
            count_sums(mapping, placed, cells, inputs, off, histogram)
            return
        column_sum_histogram(
            inputs, placed.layer.input_bits, placed.layer.window, placed.layer.stride,
            placed.crossbar_rows, cells.levels, len(mapping.slicing.planes),
            histogram, sums_scratch(mapping, cells),
        )  # fmt: skip

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        pass


def observe_ranges(
    mapping: Mapping, images: npt.NDArray[np.uint8], timesteps: int, jobs: int = 1
) -> RangeCalibration:
    """Run calibration images through ideal crossbars and keep the histogram of all column sums.

    Parameters
    ----------
    images : uint8 (n, c, h, w) or (n, t, c, h, w); of the training split, never evaluated ones.
    timesteps : T.
    jobs : worker threads; each counts for itself, and whole numbers add up in any order.
    """
    model = ideal_model(mapping)

    def count(part: npt.NDArray[np.uint8]) -> RangeCalibration:
        observer = _HistogramObserver(model)
        for start in range(0, len(part), BATCH):
            run_batch(model, part[start : start + BATCH], timesteps, observer)
        return observer.ranges

    with ThreadPoolExecutor(jobs) as workers:
        ranges, *others = workers.map(count, np.array_split(images, jobs))
    for other in others:
        ranges.add(other)
    return ranges


def calibrated_steps(
    mapping: Mapping, images: npt.NDArray[np.uint8], timesteps: int, jobs: int = 1
) -> Steps:
    """ADC steps of the chip's converters by `adc.range`: stated, or from `adc.percentile` and the
    first `adc.calibration_images`.

    Raises
    ------
    MappingError
        With ``adc.range: lossless``, if the converter has too few bits.
    """
    adc, stated = mapping.chip.adc, stated_steps(mapping)
    if stated is not None:
        return stated
    ranges = observe_ranges(mapping, images[: adc.calibration_images], timesteps, jobs)
    return ranges.steps(adc.bits, adc.percentile)
