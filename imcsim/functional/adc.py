"""ADC ranges: what one code is worth, per layer and plane.

A step is a whole number of sixteenths of a cell level. Codes are accumulated in sixteenths, too,
and rounded once per window, so everything stays an integer; a step of exactly one level loses
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imcsim.chip import Chip
from imcsim.errors import MappingError
from imcsim.functional.cells import ProgrammedLayer, stored_columns
from imcsim.functional.devices import pedestal_levels, taken_after_converter
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.placement import largest_code

Steps = dict[int, npt.NDArray[np.int64]]
"""Per weight layer (network index): int64 (conversions,), ADC step in 1/16 level."""

FRACTION_BITS = 4
ONE_LEVEL = 1 << FRACTION_BITS
_ERROR_STREAM, _NOISE_STREAM = 8, 9
"""Keep the converters' draws apart from those of the cells (`imcsim.functional.cells`)."""


@dataclass(frozen=True, eq=False)
class AdcErrors:
    """What the converters of one layer do wrong, frozen when the chip is made; b = row blocks, k =
    conversions per weight, s = stored columns."""

    offset_levels: npt.NDArray[np.float32]
    """float32 (b, k, s)."""
    gain: npt.NDArray[np.float32]
    """float32 (b, k, s), 1 is ideal."""


@dataclass(frozen=True)
class AdcNoise:
    """What conversions of one layer add to their currents."""

    sigma_levels: float
    seed: int
    layer: int

    def drawn(self, image: int, timestep: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """float32: noise of all conversions of one image and timestep [levels].

        A pure function of (seed, layer, timestep, image): nothing else can move a draw.
        """
        key = np.array(
            [self.seed, (_NOISE_STREAM << 60) | (self.layer << 32) | timestep], np.uint64
        )
        # The highest word of the counter is never reached by counting: images cannot overlap.
        counter = np.array([0, 0, 0, image], np.uint64)
        stream = np.random.Generator(np.random.Philox(key=key, counter=counter))
        drawn = stream.standard_normal(shape, np.float32)
        drawn *= np.float32(self.sigma_levels)
        return drawn


@dataclass(frozen=True)
class OffCurrent:
    """R_off's current that goes through the converters, per active row."""

    seen: float = 0.0
    """In every column, beside what the cells' levels say [levels]."""
    subtracted: float = 0.0
    """From every sum, not quantised [1/16 LSB]."""


@dataclass(frozen=True, eq=False)
class AdcSettings:
    """The converters of one layer, as the crossbar kernels take them."""

    bias: npt.NDArray[np.float32]
    inverse_step: npt.NDArray[np.float32]
    factor: npt.NDArray[np.int32]
    max_code: int
    errors: AdcErrors | None = None
    """None: ideal converters."""
    noise: AdcNoise | None = None
    """None: equal currents give equal codes."""
    off_current: OffCurrent = field(default_factory=OffCurrent)


def largest_sum(mapping: Mapping) -> int:
    """Largest possible sum of one column: every word line active, every cell at its highest
    level."""
    return mapping.chip.crossbar.rows * mapping.slicing.max_level


def lossless_steps(mapping: Mapping) -> Steps:
    """One level everywhere: with enough codes the converter is exact."""
    return uniform_steps(mapping, ONE_LEVEL)


def uniform_steps(mapping: Mapping, step: int) -> Steps:
    """The same step, in 1/16 level, everywhere."""
    conversions = len(mapping.slicing.conversions)
    return {m.index: np.full(conversions, step, np.int64) for m in mapping.layers}


def adc_settings(
    mapping: Mapping,
    placed: LayerMapping,
    steps: Steps,
    max_code: int,
    cells: ProgrammedLayer,
    seed: int | None = None,
) -> AdcSettings:
    """Turn steps into kernel arguments; see `imcsim.kernels.crossbar` for the rounding.

    Parameters
    ----------
    seed : chip instance whose converters are drawn; None for ideal ones that do not see R_off.

    Raises
    ------
    MappingError
        If sums of the layer could overflow the 32-bit accumulators.
    """
    largest, step = max(-placed.layer.input_min, placed.layer.input_max), steps[placed.index]
    # A code is worth at most twice the current that it stands for; with whole steps, just that.
    worth = ONE_LEVEL if step.max() <= ONE_LEVEL else 2 * ONE_LEVEL
    if placed.rows * (1 << mapping.slicing.weight_bits) * largest * worth >= 1 << 31:
        raise MappingError(
            f"layer {placed.layer.name}: sums of {placed.rows:,} rows and inputs up to {largest} "
            "overflow the chip's 32-bit accumulators"
        )
    errors = None if seed is None else draw_errors(mapping, placed, seed)
    noise = None if seed is None else _noise(mapping, placed, seed)
    off_current = OffCurrent() if seed is None else _off_current(mapping, cells)
    # Whole parts of levels: p + step/2 lies on a grid of 1/32 level; half of that keeps
    # (p + step/2)·(1/step) from rounding below an exact quotient, and is too small to reach the
    # next one. Other currents are real numbers, without ties to protect.
    ideal = errors is None and noise is None and not off_current.seen
    ideal = ideal and cells.fluctuations is None
    whole = (cells.levels.dtype == np.uint8 or cells.parts is not None) and ideal
    guard = 1 / (4 * ONE_LEVEL) if whole else 0.0
    rounds = seed is None or mapping.chip.adc.rounding == "nearest"
    half = step / (2 * ONE_LEVEL) if rounds else np.zeros(len(step))
    return AdcSettings(
        bias=(half + guard).astype(np.float32),
        inverse_step=(ONE_LEVEL / step).astype(np.float32),
        factor=np.array([p.factor for p in mapping.slicing.conversions] * step, np.int32),
        max_code=max_code,
        errors=errors,
        noise=noise,
        off_current=off_current,
    )


def _noise(mapping: Mapping, placed: LayerMapping, seed: int) -> AdcNoise | None:
    sigma = mapping.chip.adc.noise_sigma_levels
    return AdcNoise(sigma, seed, placed.index) if sigma > 0 else None


def _off_current(mapping: Mapping, cells: ProgrammedLayer) -> OffCurrent:
    """R_off's current by `device.off_current`; programmed conductances hold it already."""
    chip = mapping.chip
    if chip.device.off_current == "corrected":
        return OffCurrent()
    pedestal = pedestal_levels(chip)
    seen = pedestal if cells.levels.dtype == np.uint8 else 0.0
    if mapping.slicing.has_reference:
        # A reference column carries as much of it as the columns that it is subtracted from.
        return OffCurrent(seen)
    factors = sum(plane.factor for plane in mapping.slicing.planes)
    return OffCurrent(seen, taken_after_converter(chip) * factors * ONE_LEVEL)


def draw_errors(mapping: Mapping, placed: LayerMapping, seed: int) -> AdcErrors | None:
    """Offset and gain of every converter of a layer, one Philox stream per crossbar.

    A converter serves `adc.columns_per_adc` neighbouring columns of one crossbar; all of these see
    the same errors.

    Returns
    -------
    None if both spreads are 0.
    """
    adc, slicing = mapping.chip.adc, mapping.slicing
    if adc.offset_sigma_levels == 0 and adc.gain_sigma == 0:
        return None
    shape = (placed.row_blocks, len(slicing.conversions), stored_columns(mapping, placed))
    offset, gain = np.empty(shape, np.float32), np.empty(shape, np.float32)
    per_array = len(slicing.conversions) // placed.arrays_per_weight
    for crossbar in range(placed.crossbars):
        block, row = divmod(crossbar, placed.row_blocks)
        block, array = divmod(block, placed.arrays_per_weight)
        drawn = _converter_draws(mapping, placed, seed, crossbar)
        first = block * placed.weights_per_crossbar
        columns = list(range(first, min(first + placed.weights_per_crossbar, placed.c_out)))
        places = list(range(len(columns)))
        if slicing.has_reference:
            columns.append(placed.c_out + block)
            places.append(placed.weights_per_crossbar)
        kinds = slice(array * per_array, (array + 1) * per_array)
        offset[row, kinds, columns] = adc.offset_sigma_levels * drawn[places, :, 0]
        gain[row, kinds, columns] = 1 + adc.gain_sigma * drawn[places, :, 1]
    return AdcErrors(offset, gain)


def _converter_draws(
    mapping: Mapping, placed: LayerMapping, seed: int, crossbar: int
) -> npt.NDArray[np.float64]:
    """Standard normal draws (places, conversions of a weight on this crossbar, 2) for offset and
    gain: the same for all columns of a converter. A reference column stands in the last place."""
    chip, slicing = mapping.chip, mapping.slicing
    places = placed.weights_per_crossbar + slicing.has_reference
    per_place = len(slicing.conversions) // placed.arrays_per_weight
    key = np.array([seed, (_ERROR_STREAM << 60) | (placed.index << 32) | crossbar], np.uint64)
    drawn = np.random.Generator(np.random.Philox(key=key)).standard_normal(
        (chip.adcs_per_crossbar, 2)
    )
    converter = np.arange(places * per_place) // chip.conversions_per_adc
    return drawn[converter].reshape(places, per_place, 2)


def stated_steps(mapping: Mapping) -> Steps | None:
    """Steps that need no calibration images; None if `adc.range` is `calibrated`.

    Raises
    ------
    MappingError
        With ``adc.range: lossless``, if the converter has too few bits.
    """
    adc = mapping.chip.adc
    if adc.range == "calibrated":
        return None
    if adc.range == "fixed":
        assert adc.step_levels is not None
        return uniform_steps(mapping, round(adc.step_levels * ONE_LEVEL))
    codes = largest_code(mapping)
    scale = np.array([full_scale(mapping, plane.shift) for plane in mapping.slicing.conversions])
    if adc.range == "formula":
        steps = step_of(scale, codes)
        return {m.index: steps for m in mapping.layers}
    largest = int(np.ceil(scale.max()))
    if largest > codes:
        needed = largest.bit_length() + mapping.slicing.subtracts_currents
        raise MappingError(
            f"adc.range lossless needs {needed} bits for sums up to {largest:,} levels,"
            f" adc.bits is {adc.bits} (raise it, or lower crossbar.rows_per_read)"
        )
    return lossless_steps(mapping)


def full_scale(mapping: Mapping, shift: int) -> float:
    """Largest current of a column with slices of significance 2^shift [levels]: every driven row
    active, every cell at the highest level that a weight puts there."""
    chip, slicing = mapping.chip, mapping.slicing
    stored_bits = slicing.weight_bits - (slicing.stored_offset == 0)
    highest = min(slicing.max_level, ((1 << stored_bits) - 1) >> shift)
    return chip.rows_per_read * (highest + off_levels_seen(chip))


def off_levels_seen(chip: Chip) -> float:
    """R_off's current that a converter sees, per active row [levels]; pairs cancel it."""
    if chip.device.off_current == "corrected" or chip.mapping.subtract == "analog":
        return 0.0
    return pedestal_levels(chip)


def step_of(scale: npt.NDArray[np.float64], codes: int) -> npt.NDArray[np.int64]:
    """ADC steps [1/16 level] for full scales [levels]: half levels, at least one level (lossless).

    Column sums are whole numbers, so a step of 2 levels meets every odd sum half-way between two
    codes and rounds it up; steps near it do much the same. That bias adds up over row blocks, 16
    times over in the upper slice, and costs up to 10 points of accuracy. Odd multiples of a half
    level and of a level round evenly, so even numbers of levels are passed over.
    """
    halves = np.maximum(np.ceil(2 * scale / codes).astype(np.int64), 2)
    steps: npt.NDArray[np.int64] = (halves + (halves % 4 == 0)) * (ONE_LEVEL // 2)
    return steps


class RangeCalibration:
    """Collects column sums of calibration images and derives every layer's ADC steps.

    The full scale of a layer and plane is the given percentile of its column sums at all timesteps
    and windows, the largest over its row blocks: clipping hurts more than coarse steps.
    """

    def __init__(self, mapping: Mapping):
        self._signed = int(mapping.slicing.subtracts_currents)
        off = mapping.chip.crossbar.rows * off_levels_seen(mapping.chip)
        sizes = largest_sum(mapping) + int(np.ceil(off)) + 1
        conversions = len(mapping.slicing.conversions)
        self._histograms = {
            m.index: np.zeros((m.row_blocks, conversions, sizes), np.int64) for m in mapping.layers
        }

    def histogram(self, layer: int) -> npt.NDArray[np.int64]:
        """int64 (row blocks, conversions, largest size + 1) of a weight layer, to be added to; a
        size is a current's magnitude, rounded up to whole levels."""
        return self._histograms[layer]

    def add(self, other: RangeCalibration) -> None:
        """Take in what another one, of the same mapping, has counted."""
        for index, histogram in self._histograms.items():
            histogram += other.histogram(index)

    def steps(self, bits: int, percentile: float) -> Steps:
        """ADC steps for a converter of `bits` bits, by `step_of`."""
        return dict(self._steps(bits, percentile))

    def _steps(self, bits: int, percentile: float) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        codes = (1 << (bits - self._signed)) - 1
        for index, histogram in self._histograms.items():
            cumulative = histogram.cumsum(axis=-1)
            wanted = np.ceil(cumulative[..., -1:] * (percentile / 100))
            scale = (cumulative < wanted).sum(axis=-1).max(axis=0)
            yield index, step_of(scale.astype(np.float64), codes)
