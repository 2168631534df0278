"""ADC ranges: what one code is worth, per layer and plane.

A step is a whole number of sixteenths of a cell level. Codes are accumulated in sixteenths, too,
and rounded once per window, so everything stays an integer; a step of exactly one level loses
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.errors import MappingError
from imcsim.functional.cells import ProgrammedLayer
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.slicing import OFFSET

Steps = dict[int, npt.NDArray[np.int64]]
"""Per weight layer (network index): int64 (planes,), ADC step in 1/16 level."""

FRACTION_BITS = 4
ONE_LEVEL = 1 << FRACTION_BITS


@dataclass(frozen=True, eq=False)
class AdcSettings:
    """The converter of one layer, as the crossbar kernel takes it."""

    bias: npt.NDArray[np.float32]
    inverse_step: npt.NDArray[np.float32]
    factor: npt.NDArray[np.int32]
    max_code: int


def largest_sum(mapping: Mapping) -> int:
    """Largest possible sum of one column: every word line active, every cell at its highest
    level."""
    return mapping.chip.crossbar.rows * mapping.slicing.max_level


def lossless_steps(mapping: Mapping) -> Steps:
    """One level everywhere: with enough codes the converter is exact."""
    planes = len(mapping.slicing.planes)
    return {m.index: np.full(planes, ONE_LEVEL, np.int64) for m in mapping.layers}


def adc_settings(
    mapping: Mapping, placed: LayerMapping, steps: Steps, max_code: int, cells: ProgrammedLayer
) -> AdcSettings:
    """Turn steps into kernel arguments; see `imcsim.kernels.crossbar` for the rounding.

    Raises
    ------
    MappingError
        If sums of the layer could overflow the 32-bit accumulators.
    """
    largest = max(-placed.layer.input_min, placed.layer.input_max)
    if placed.rows * (2 * OFFSET) * largest * ONE_LEVEL >= 1 << 31:
        raise MappingError(
            f"layer {placed.layer.name}: sums of {placed.rows:,} rows and inputs up to {largest} "
            "overflow the chip's 32-bit accumulators"
        )
    step = steps[placed.index]
    # Integer sums: p + step/2 lies on a grid of 1/32 level; half of that keeps
    # (p + step/2)·(1/step) from rounding below an exact quotient, and is too small to reach the
    # next one. Programmed conductances are real numbers, without ties to protect.
    guard = 1 / (4 * ONE_LEVEL) if cells.levels.dtype == np.uint8 else 0.0
    return AdcSettings(
        bias=(step / (2 * ONE_LEVEL) + guard).astype(np.float32),
        inverse_step=(ONE_LEVEL / step).astype(np.float32),
        factor=np.array([p.factor for p in mapping.slicing.planes] * step, np.int32),
        max_code=max_code,
    )


class RangeCalibration:
    """Collects column sums of calibration images and derives every layer's ADC steps.

    The full scale of a layer and plane is the given percentile of its column sums at all timesteps
    and windows, the largest over its row blocks: clipping hurts more than coarse steps.
    """

    def __init__(self, mapping: Mapping):
        self._histograms = {
            m.index: np.zeros(
                (m.row_blocks, len(mapping.slicing.planes), largest_sum(mapping) + 1), np.int64
            )
            for m in mapping.layers
        }

    def histogram(self, layer: int) -> npt.NDArray[np.int64]:
        """int64 (row blocks, planes, largest sum + 1) of a weight layer, to be added to."""
        return self._histograms[layer]

    def add(self, other: RangeCalibration) -> None:
        """Take in what another one, of the same mapping, has counted."""
        for index, histogram in self._histograms.items():
            histogram += other.histogram(index)

    def steps(self, bits: int, percentile: float) -> Steps:
        """ADC steps for a converter of `bits` bits: half levels, at least one level (lossless).

        Column sums are whole numbers, so a step of 2 levels meets every odd sum half-way between
        two codes and rounds it up; steps near it do much the same. That bias adds up over row
        blocks, 16 times over in the upper slice, and costs up to 10 points of accuracy. Odd
        multiples of a half level and of a level round evenly, so even numbers of levels are passed
        over.
        """
        return dict(self._steps(bits, percentile))

    def _steps(self, bits: int, percentile: float) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        codes = (1 << bits) - 1
        for index, histogram in self._histograms.items():
            cumulative = histogram.cumsum(axis=-1)
            wanted = np.ceil(cumulative[..., -1:] * (percentile / 100))
            full_scale = (cumulative < wanted).sum(axis=-1).max(axis=0)
            halves = np.maximum(-(-2 * full_scale // codes), 2)
            yield index, (halves + (halves % 4 == 0)) * (ONE_LEVEL // 2)
