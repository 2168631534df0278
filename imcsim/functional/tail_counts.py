"""ADC ranges from the largest column sums alone.

A percentile needs no whole histogram: the number of all sums is known, and so is, for a high
percentile, that most of them are too small to matter. A bound per layer and plane says what
need not be counted. It starts at the converter's largest code, below which every full scale gives
the same step, and rises as soon as so many sums above a higher one have been counted that the
percentile must be beyond. So no bound is ever too high, and steps are those of whole histograms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import RangeCalibration, Steps
from imcsim.functional.forward import Array, ChipModel
from imcsim.mapping import LayerMapping
from imcsim.mapping.placement import largest_code

Counts = npt.NDArray[np.int64]


class TailObserver:
    """Counts the column sums of calibration images that can decide a percentile.

    Parameters
    ----------
    model : an ideal copy of the chip.
    percentile : of the column sums, in percent.
    images, timesteps : how many will be seen, by all observers together.
    count_all : counts every sum of a layer that the vector kernel cannot read.
    """

    def __init__(
        self,
        model: ChipModel,
        percentile: float,
        images: int,
        timesteps: int,
        count_all: Callable[[ChipModel, LayerMapping, Array, Counts], None],
    ):
        mapping = model.mapping
        self._model, self._percentile, self._count_all = model, percentile, count_all
        self._ranges = RangeCalibration(mapping)
        planes, code = len(mapping.slicing.conversions), largest_code(mapping)
        self._bounds = {m.index: np.full(planes, code, np.int64) for m in mapping.layers}
        self._seen = {m.index: 0 for m in mapping.layers}
        self._expected = {
            m.index: images * (1 if mapping.network.sees_static_image(m.index) else timesteps)
            for m in mapping.layers
        }

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        index, mapping = placed.index, self._model.mapping
        vectors, histogram = self._model.vectors[index], self._ranges.histogram(index)
        if vectors is None:
            self._count_all(self._model, placed, inputs, histogram)
            self._seen[index] += len(inputs)
            return
        first = 0
        while first < len(inputs):
            # The first images are most of the work, since bounds are still low: few at a time.
            part = inputs[first : first + max(self._seen[index], 1)]
            vectors.count_above(part, self._bounds[index], mapping.slicing.max_level, histogram)
            first += len(part)
            self._seen[index] += len(part)
            self._raise_bounds(placed)

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        pass

    def _raise_bounds(self, placed: LayerMapping) -> None:
        """What more sums exceed than the percentile allows, in any row block, is too low."""
        total = self._expected[placed.index] * sums_per_image(placed)
        allowed = total - np.ceil(total * (self._percentile / 100))
        histogram = self._ranges.histogram(placed.index)
        at_least = histogram[..., ::-1].cumsum(axis=-1)[..., ::-1]
        reached = (at_least > allowed).any(axis=0).sum(axis=-1) - 1
        bounds = self._bounds[placed.index]
        np.maximum(bounds, reached - 1, out=bounds)

    def add(self, other: TailObserver) -> None:
        """Take in what another observer of the same model has counted."""
        self._ranges.add(other._ranges)
        for index, images in other._seen.items():
            self._seen[index] += images

    def steps(self, bits: int) -> Steps:
        """ADC steps for a converter of `bits` bits, once all images have been seen."""
        assert self._seen == self._expected, "bounds rest on the number of images"
        for placed in self._model.mapping.layers:
            if self._model.vectors[placed.index] is None:
                continue
            histogram = self._ranges.histogram(placed.index)
            # Somewhere below the bound: where does not matter.
            total = self._seen[placed.index] * sums_per_image(placed)
            histogram[..., 0] += total - histogram.sum(axis=-1)
        return self._ranges.steps(bits, self._percentile)


def sums_per_image(placed: LayerMapping) -> int:
    """Column sums of one plane and row block for one input."""
    outputs, height, width = placed.layer.output_shape
    return placed.layer.input_bits * height * width * outputs
