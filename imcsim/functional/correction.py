"""Gain and offset of every output channel of one chip, and what its digital side makes of them.

Calibration images run through an ideal copy of the chip; each layer of the real one sees exactly
what the ideal copy's sees, so no layer's errors reach the next. Per channel, what a neuron gets
from the crossbars (a residual convolution's share included) is regressed on what it should get::

    current of the chip ≈ gain · exact current + offset

A neuron scaled by its gain fires at the same times, so gain and offset go into registers that are
there anyway: ``θ' = gain·θ``, ``bias' = gain·bias − offset·2^F``, and the residual current times
the gain. The membrane keeps its width. The classifier has no neuron and nothing that multiplies,
so its gains stay; it loses the mean error of each class score.

All sums are whole numbers of any size, and fits are fractions: neither the order of the images nor
the machine can change a bit, and a chip without errors has gain 1 and offset 0 exactly.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.functional.forward import Array, BatchRun, ChipModel, Counts, ideal_model
from imcsim.network.layers import Layer, Network

Integers = npt.NDArray[np.integer[Any]]
BATCH = 16
CHUNK = 1024
"""Windows converted to 64 bits at a time."""


class Moments:
    """Sums over all windows of exact currents x and the chip's currents y, per channel."""

    def __init__(self) -> None:
        self.windows = 0
        self.sums: npt.NDArray[np.object_] | None = None
        """(4, c): Σx, Σy, Σx², Σxy, Python's integers."""

    def add(self, exact: Integers, found: Integers) -> None:
        """More windows: int (..., c) each, below 2^31 in magnitude."""
        x = exact.reshape(-1, exact.shape[-1])
        y = found.reshape(x.shape)
        self.windows += len(x)
        largest = max(1, *(abs(int(end)) for a in (x, y) for end in (a.min(), a.max())))
        # Products of so many windows stay below 2^63; more would leave the cache.
        together = min(max((1 << 62) // largest**2, 1), CHUNK)
        for start in range(0, len(x), together):
            part = slice(start, start + together)
            self._add_sums(_sums(x[part].astype(np.int64), y[part].astype(np.int64)))

    def join(self, other: Moments) -> None:
        """Take in the windows of another one."""
        self.windows += other.windows
        if other.sums is not None:
            self._add_sums(other.sums)

    def _add_sums(self, more: npt.NDArray[np.object_]) -> None:
        self.sums = more if self.sums is None else self.sums + more


def _sums(x: Counts, y: Counts) -> npt.NDArray[np.object_]:
    products = (np.einsum("nc,nc->c", x, x), np.einsum("nc,nc->c", x, y))
    return np.stack([x.sum(axis=0), y.sum(axis=0), *products]).astype(object)


@dataclass(frozen=True)
class ChannelFit:
    """Least squares of one channel."""

    gain: Fraction
    offset: Fraction
    """In accumulator LSB."""
    mean_error: Fraction
    """Mean of the chip's current less the exact one [accumulator LSB]."""
    is_usable: bool
    """False where the exact current never changes or the slope is not positive; gain 1 and offset
    0 then."""


def fit_channels(moments: Moments) -> list[ChannelFit]:
    """Regress y on x in every channel; none if there were no windows."""
    if moments.sums is None:
        return []
    return [_fit(moments.windows, *(int(s) for s in sums)) for sums in moments.sums.T]


def _fit(n: int, x: int, y: int, xx: int, xy: int) -> ChannelFit:
    mean_error = Fraction(y - x, n)
    spread, common = n * xx - x * x, n * xy - x * y
    if spread <= 0 or common <= 0:
        return ChannelFit(Fraction(1), Fraction(0), mean_error, False)
    gain = Fraction(common, spread)
    return ChannelFit(gain, (y - gain * x) / n, mean_error, True)


@dataclass
class _Clips:
    """Puts whole numbers into registers and counts those that do not fit."""

    count: int = 0

    def put(self, values: Sequence[Fraction], low: int, high: int) -> npt.NDArray[np.int32]:
        """Nearest whole numbers (halves to even), held at `low` and `high`."""
        whole = [round(value) for value in values]
        held = [min(max(value, low), high) for value in whole]
        self.count += sum(a != b for a, b in zip(whole, held, strict=True))
        return np.array(held, np.int32)


def fold(layer: Layer, fits: Sequence[ChannelFit], network: Network) -> tuple[Layer, int]:
    """A layer with its fits in thresholds and biases.

    Returns
    -------
    Layer
    int
        Registers that would have left their width (θ: 1..2^(W−1) − 2, the others W bits; class
        biases 32 bits) and were held at its end.
    """
    assert layer.bias is not None
    clips = _Clips()
    biases = [Fraction(int(b)) for b in layer.bias]
    if layer.threshold is None:
        less = [b - round(fit.mean_error) for b, fit in zip(biases, fits, strict=True)]
        return replace(layer, bias=clips.put(less, -(1 << 31), (1 << 31) - 1)), clips.count
    bits, one = network.neuron.membrane_bits, 1 << network.neuron.fraction_bits
    top = (1 << (bits - 1)) - 1
    moved = [fit.gain * b - fit.offset * one for b, fit in zip(biases, fits, strict=True)]
    current = layer.residual_current
    if current is not None:
        current = clips.put(_scaled(current, fits), *_reach(current, top))
    folded = replace(
        layer,
        threshold=clips.put(_scaled(layer.threshold, fits), 1, top - 1),
        # A file may hold a bias beyond the membrane's width: what is not corrected stays.
        bias=clips.put(moved, *_reach(layer.bias, top)),
        residual_current=current,
    )
    return folded, clips.count


def _scaled(values: Integers, fits: Sequence[ChannelFit]) -> list[Fraction]:
    return [int(value) * fit.gain for value, fit in zip(values, fits, strict=True)]


def _reach(values: Integers, top: int) -> tuple[int, int]:
    """Ends of a register of `top` + 1 in magnitude that at least holds `values`."""
    return min(-top - 1, int(values.min())), max(top, int(values.max()))


class _Pair(BatchRun):
    """A batch on the ideal copy; the chip reads what each of its layers reads."""

    def __init__(self, ideal: ChipModel, chip: ChipModel, images: Array, steps: int, first: int):
        super().__init__(ideal, images, steps, None, first)
        self.chip = BatchRun(chip, images, steps, None, first)
        self.found: dict[int, Array] = {}
        """The chip's currents at this timestep, int32 (n, y, x, c)."""
        self.moments = {m.index: Moments() for m in ideal.mapping.layers}

    def crossbars(self, t: int, index: int, source: Array) -> tuple[Array, Counts]:
        exact, counts = super().crossbars(t, index, source)
        self.found[index], _ = self.chip.crossbars(t, index, source)
        if index == len(self.network.layers) - 1:
            self.moments[index].add(exact, self.found[index])
        return exact, counts

    def neurons(self, t: int, index: int, acc: Array, outputs: list[Array]) -> Array:
        found, residual = self.found[index], self.network.layers[index].residual
        if residual is not None and self.network.layers[residual].sends_sums:
            found = found + self.found[residual]
        self.moments[index].add(acc, found)
        return super().neurons(t, index, acc, outputs)


def observe_channels(
    chip: ChipModel, images: npt.NDArray[np.uint8], timesteps: int, jobs: int = 1
) -> dict[int, Moments]:
    """Exact currents and the chip's, of every layer with neurons and of the classifier.

    Parameters
    ----------
    chip : a programmed chip.
    images : uint8 (n, c, h, w) or (n, t, c, h, w); of the training split, never evaluated ones.
    timesteps : T.
    jobs : worker threads.
    """
    ideal = ideal_model(chip.mapping)

    def observe(start: int) -> dict[int, Moments]:
        pair = _Pair(ideal, chip, images[start : start + BATCH], timesteps, start)
        pair.run(None)
        return pair.moments

    total = {m.index: Moments() for m in chip.mapping.layers}
    with ThreadPoolExecutor(jobs) as workers:
        for moments in workers.map(observe, range(0, len(images), BATCH)):
            for index, more in moments.items():
                total[index].join(more)
    return total


@dataclass(frozen=True)
class ChannelCorrection:
    """What the correction of channels did."""

    channels: int
    """Channels with neurons, and classes."""
    left_alone: int
    """Channels without a usable regression."""
    clipped: int
    """Thresholds, biases and residual currents held at the end of their registers."""
    gain_mean: float
    """Of the usable channels with neurons; 1 if there are none."""
    gain_std: float


@dataclass
class _Tally:
    clipped: int = 0
    fits: list[ChannelFit] = field(default_factory=list)
    classes: int = 0


def correct_channels(
    chip: ChipModel, moments: Table[int, Moments]
) -> tuple[ChipModel, ChannelCorrection]:
    """The same chip with gains and offsets folded in.

    Parameters
    ----------
    chip : a programmed chip.
    moments : from `observe_channels`, of this chip.
    """
    network, tally = chip.mapping.network, _Tally()
    layers = list(network.layers)
    for index, seen in moments.items():
        fits = fit_channels(seen)
        if not fits:
            continue
        layers[index], clipped = fold(layers[index], fits, network)
        tally.clipped += clipped
        if layers[index].spikes:
            tally.fits += fits
        else:
            tally.classes += len(fits)
    corrected = replace(network, layers=tuple(layers))
    result = replace(chip, mapping=replace(chip.mapping, network=corrected))
    # Laid out here, before several threads ask for it.
    assert len(result.vectors) == len(chip.cells)
    return result, _report(tally)


def _report(tally: _Tally) -> ChannelCorrection:
    gains = [float(fit.gain) for fit in tally.fits if fit.is_usable] or [1.0]
    return ChannelCorrection(
        channels=len(tally.fits) + tally.classes,
        left_alone=sum(not fit.is_usable for fit in tally.fits),
        clipped=tally.clipped,
        gain_mean=fmean(gains),
        gain_std=pstdev(gains),
    )
