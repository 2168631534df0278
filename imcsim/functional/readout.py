"""From class scores to exit scores: prediction, entropy, confidence, margin at every timestep.

This is the σ-E module of Li et al., DAC 2023 (Section III-B, Fig. 3b) in integers: it fills the
look-up tables, scales the scores to table steps and calls the kernel; the cost is in
`imcsim.hardware.sigma_e`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from imcsim.errors import FitError, MappingError, UsageError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Accumulate = Literal["sum", "mean"]

WORD_BYTES = 2
ONE = 65535
"""The σ-LUT's word for a probability of 1."""
RANGE_NATS = 24
"""Distance covered by the σ-LUT; its far end is 0 in 16 bits, so nothing is lost beyond it."""
MOST_STEPS_PER_NAT = 1024
"""Finer steps do not fit the E-LUT's signed words, nor show behind 16-bit probabilities."""
EXPONENT_WORDS = 32
"""E-LUT words for the powers of two in Z, from 2^15 on: more than any number of classes needs."""
GAIN_BITS = 16
MOST_SHIFT = 46
"""Largest shift after the gain multiplier: with it no product exceeds 62 bits."""


@dataclass(frozen=True)
class SigmaETables:
    """Both look-up tables: at the paper's 3 KB each, 1,536 words and steps of 1/64 nat.

    With 3 KB the normalised entropy is within 0.01 of the exact one for 10 to 200 classes.

    Raises
    ------
    MappingError
        A table is too small to hold its coarsest useful version.
    """

    sigma_lut_bytes: int
    entropy_lut_bytes: int
    classes: int

    def __post_init__(self) -> None:
        needs = {
            "sigma_lut_bytes": RANGE_NATS * WORD_BYTES,
            "entropy_lut_bytes": (1 + EXPONENT_WORDS) * WORD_BYTES,
        }
        for key, least in needs.items():
            given = getattr(self, key)
            if given < least:
                raise MappingError(
                    f"sigma_e.{key} is {given}, the σ-E module's table needs at least {least}"
                )

    @property
    def steps_per_nat(self) -> int:
        """Table steps per unit of the natural logarithm."""
        return min(self.sigma_lut_bytes // WORD_BYTES // RANGE_NATS, MOST_STEPS_PER_NAT)

    @property
    def mantissa_bits(self) -> int:
        """Bits of Z after its leading one that address the E-LUT."""
        words = self.entropy_lut_bytes // WORD_BYTES - EXPONENT_WORDS
        # 14 bits are as fine as a 16-bit word can show.
        return min(words.bit_length() - 1, 14)

    @property
    def fraction_bits(self) -> int:
        """Bits of an E-LUT word below one table step: as many as its largest logarithm leaves."""
        largest_nats = (15 + EXPONENT_WORDS) * math.log(2) - math.log(ONE)
        return int(32767 / (largest_nats * self.steps_per_nat)).bit_length() - 1

    @cached_property
    def sigma_lut(self) -> IntArray:
        """int64 (words,): exp(−d) in 1/65535 for d in table steps."""
        distance = np.arange(RANGE_NATS * self.steps_per_nat) / self.steps_per_nat
        return _frozen(ONE * np.exp(-distance))

    @cached_property
    def entropy_lut(self) -> IntArray:
        """int64 (words,): ln of the mantissas in [1, 2), then of 2^15 / 65535, 2^16 / 65535, ..."""
        mantissas = 1 << self.mantissa_bits
        # Each word serves a bin of mantissas and holds the logarithm of its middle.
        mantissa = np.log1p((np.arange(mantissas) + 0.5) / mantissas)
        exponent = (15 + np.arange(EXPONENT_WORDS)) * math.log(2) - math.log(ONE)
        unit = self.steps_per_nat << self.fraction_bits
        return _frozen(unit * np.concatenate([mantissa, exponent]))

    @property
    def entropy_scale(self) -> float:
        """Raw value of a normalised entropy of 1; of 1 nat for a single class (ln 1 = 0)."""
        nats = math.log(self.classes) if self.classes > 1 else 1.0
        return ONE * self.steps_per_nat * nats

    def multiplier(self, step: float) -> tuple[int, int]:
        """Gain (16 bits) and shift that turn score differences into table steps, within 2^−16.

        Parameters
        ----------
        step : float
            Real value of one LSB of the scores [nat].

        Raises
        ------
        FitError
            The scores are too fine for the module (or `step` is no positive number).
        """
        # One LSB beyond the table's end is as good as one at its end.
        factor = min(step * self.steps_per_nat, float(RANGE_NATS * self.steps_per_nat))
        finest = 2.0 ** (GAIN_BITS - 1 - MOST_SHIFT)
        if not factor >= finest:
            raise FitError(
                f"one step of the class scores is worth {step:g}, the σ-E module needs at least "
                f"{finest / self.steps_per_nat:.1e} (logit_scale, over t if the mean is taken)"
            )
        exponent = math.frexp(factor)[1]
        gain = round(math.ldexp(factor, GAIN_BITS - exponent))
        shift = GAIN_BITS - exponent
        return (gain, shift) if gain < 1 << GAIN_BITS else (gain >> 1, shift - 1)


def _frozen(values: FloatArray) -> IntArray:
    words = np.rint(values).astype(np.int64)
    words.setflags(write=False)
    return words


@dataclass(frozen=True, eq=False)
class ExitScores:
    """What the exit policies see, for n images after each of t timesteps."""

    predictions: IntArray
    """int64 (n, t): class with the largest accumulated score; of equal ones the lowest."""
    entropy_raw: IntArray
    """int64 (n, t): the module's entropy register."""
    entropy: FloatArray
    """float64 (n, t): normalised entropy, 0..1 (a table error above 1 is cut off here only)."""
    confidence: FloatArray
    """float64 (n, t): largest softmax probability, 0..1, a multiple of 1/65535."""
    margin: FloatArray
    """float64 (n, t): largest minus second largest score [nat]; 0 for a single class."""
    entropy_scale: float
    """`entropy_raw` of a normalised entropy of 1."""

    @property
    def images(self) -> int:
        return int(self.predictions.shape[0])

    @property
    def timesteps(self) -> int:
        return int(self.predictions.shape[1])


def evaluate(
    scores: npt.NDArray[np.integer],
    logit_scale: float,
    accumulate: Accumulate,
    tables: SigmaETables,
) -> ExitScores:
    """Run the σ-E module after every timestep of every image.

    Parameters
    ----------
    scores : int (n, t, k)
        Class scores of each timestep alone (not accumulated), in units of `logit_scale`. Sums over
        t must stay below 2^62 in magnitude.
    logit_scale : float
        Real value of one LSB of the scores.
    accumulate : {"sum", "mean"}
        Softmax of the summed scores (the authors' code) or of their mean over timesteps (the
        paper's Eq. (5)). The mean costs the hardware nothing more: 1/t is part of the gain.
    tables : SigmaETables
        Tables for k classes.

    Raises
    ------
    UsageError
        `accumulate` is neither of the two.
    FitError
        `logit_scale` is too small for the module's gain.
    """
    from imcsim.kernels.readout import sigma_e

    if accumulate not in ("sum", "mean"):
        raise UsageError(f'accumulate is "{accumulate}", it can be "sum" or "mean"')
    images, timesteps, classes = scores.shape
    if classes != tables.classes:
        raise ValueError(f"scores of {classes} classes, tables for {tables.classes}")
    total = np.zeros((images, classes), np.int64)
    # One contiguous row per timestep: prediction, entropy, confidence, lead.
    raw = np.zeros((4, timesteps, images), np.int64)
    step = np.full(timesteps, float(logit_scale))
    if accumulate == "mean":
        step /= np.arange(1, timesteps + 1)
    for t in range(timesteps):
        total += scores[:, t]
        gain, shift = tables.multiplier(float(step[t]))
        sigma_e(
            total, gain, shift, tables.sigma_lut, tables.entropy_lut,
            tables.mantissa_bits, tables.fraction_bits, *raw[:, t],
        )  # fmt: skip
    prediction, entropy, confidence, lead = (_image_major(values) for values in raw)
    return ExitScores(
        predictions=prediction,
        entropy_raw=entropy,
        entropy=np.minimum(entropy / tables.entropy_scale, 1.0),
        confidence=confidence / ONE,
        margin=lead * step,
        entropy_scale=tables.entropy_scale,
    )


def _image_major(values: IntArray) -> IntArray:
    return np.ascontiguousarray(values.T)
