"""What the converters make of the calibration images: how often they clip, how far codes are off.

Currents are those of ideal cells and converters, at every timestep and window; the report says what
quantisation alone costs, layer by layer and slice by slice. Where the converters see R_off, whose
current is no whole number of levels, currents are counted rounded up to whole levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.functional.adc import ONE_LEVEL, RangeCalibration, Steps, stated_steps
from imcsim.functional.calibration import observe_ranges
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.placement import largest_code
from imcsim.mapping.slicing import Plane


@dataclass(frozen=True)
class ConversionReport:
    """One slice (and sign) of one layer; currents and errors in cell levels."""

    layer: str
    plane: Plane
    step_levels: float
    """What one code is worth."""
    largest_code: int
    largest_levels: int
    """Largest current that occurs (of a pair: magnitude)."""
    clipped: float
    """Share of the conversions whose current is beyond the largest code."""
    error_rms_levels: float
    """Root mean square of code · step − current, over all conversions."""
    error_mean_levels: float
    """Mean of the same: what adds up over row blocks."""

    @property
    def full_scale_levels(self) -> float:
        """What the largest code is worth."""
        return self.largest_code * self.step_levels


def adc_report(
    mapping: Mapping, images: npt.NDArray[np.uint8], timesteps: int, jobs: int = 1
) -> list[ConversionReport]:
    """Report on every conversion of every weight layer, in network order.

    Parameters
    ----------
    images : the workload's calibration images; the first `adc.calibration_images` are used.
    timesteps, jobs : as for `imcsim.functional.calibration.observe_ranges`.

    Raises
    ------
    MappingError
        With ``adc.range: lossless``, if the converter has too few bits.
    """
    adc = mapping.chip.adc
    steps = stated_steps(mapping)
    ranges = observe_ranges(mapping, images[: adc.calibration_images], timesteps, jobs)
    return list(_reports(mapping, ranges, steps or ranges.steps(adc.bits, adc.percentile)))


def _reports(
    mapping: Mapping, ranges: RangeCalibration, steps: Steps
) -> Iterator[ConversionReport]:
    for placed in mapping.layers:
        counts = ranges.histogram(placed.index).sum(axis=0)
        for k, plane in enumerate(mapping.slicing.conversions):
            yield _report(mapping, placed, plane, counts[k], int(steps[placed.index][k]))


def _report(
    mapping: Mapping,
    placed: LayerMapping,
    plane: Plane,
    counts: npt.NDArray[np.int64],
    step: int,
) -> ConversionReport:
    """From `counts`, int64 (largest size + 1,), and the step in 1/16 level."""
    top, sizes = largest_code(mapping), np.flatnonzero(counts)
    weight = counts[sizes] / counts.sum()
    half = step if mapping.chip.adc.rounding == "nearest" else 0
    codes = (2 * ONE_LEVEL * sizes + half) // (2 * step)
    error = np.minimum(codes, top) * (step / ONE_LEVEL) - sizes
    return ConversionReport(
        layer=placed.layer.name,
        plane=plane,
        step_levels=step / ONE_LEVEL,
        largest_code=top,
        largest_levels=int(sizes[-1]),
        clipped=float(weight[codes > top].sum()),
        error_rms_levels=float(np.sqrt((weight * error**2).sum())),
        error_mean_levels=float((weight * error).sum()),
    )
