"""ADC ranges from calibration images, seen by an ideal copy of the chip at every timestep and
window."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import RangeCalibration, Steps, off_levels_seen, stated_steps
from imcsim.functional.forward import (
    Array,
    ChipModel,
    Observer,
    ideal_model,
    run_batch,
    sums_scratch,
)
from imcsim.functional.general_reads import count_sums, has_general_conventions
from imcsim.functional.tail_counts import TailObserver
from imcsim.mapping import LayerMapping, Mapping

BATCH = 16
AnObserver = TypeVar("AnObserver", bound=Observer)


class HistogramObserver:
    """Counts every column sum of every weight layer."""

    def __init__(self, model: ChipModel):
        self.model = model
        self.ranges = RangeCalibration(model.mapping)

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        count_all(self.model, placed, inputs, self.ranges.histogram(placed.index))

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        pass


def count_all(
    model: ChipModel, placed: LayerMapping, inputs: Array, histogram: npt.NDArray[np.int64]
) -> None:
    """Count every column sum of a layer for padded inputs (n, h, w, c), one after the other."""
    from imcsim.kernels.crossbar import column_sum_histogram

    mapping, cells = model.mapping, model.cells[placed.index]
    if has_general_conventions(mapping):
        count_sums(mapping, placed, cells, inputs, off_levels_seen(mapping.chip), histogram)
        return
    column_sum_histogram(
        inputs, placed.layer.input_bits, placed.layer.window, placed.layer.stride,
        placed.crossbar_rows, cells.levels, len(mapping.slicing.planes),
        histogram, sums_scratch(mapping, cells),
    )  # fmt: skip


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
    first, *others = _observe(model, lambda: HistogramObserver(model), images, timesteps, jobs)
    for other in others:
        first.ranges.add(other.ranges)
    return first.ranges


def _observe(
    model: ChipModel,
    observer: Callable[[], AnObserver],
    images: npt.NDArray[np.uint8],
    timesteps: int,
    jobs: int,
) -> list[AnObserver]:
    """Run images past observers, one for each worker."""

    def watch(part: npt.NDArray[np.uint8]) -> AnObserver:
        watching = observer()
        for start in range(0, len(part), BATCH):
            run_batch(model, part[start : start + BATCH], timesteps, watching)
        return watching

    with ThreadPoolExecutor(jobs) as workers:
        return list(workers.map(watch, np.array_split(images, jobs)))


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
    model, used = ideal_model(mapping), images[: adc.calibration_images]
    first, *others = _observe(
        model,
        lambda: TailObserver(model, adc.percentile, len(used), timesteps, count_all),
        used,
        timesteps,
        jobs,
    )
    for other in others:
        first.add(other)
    return first.steps(adc.bits)
