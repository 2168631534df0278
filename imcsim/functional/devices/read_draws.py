"""Draws of single reads: what `imcsim.kernels.draws` computes, slowly and obviously.

A draw is a function of its address alone: (seed, kind, layer, image, timestep, window, input bit,
row block, line). A line is a column of the layer (all planes side by side) or a word line of one of
the crossbars of the row block (``column block · crossbar rows + row``). Nothing is remembered from
one draw to the next, so neither batch, workers nor skipped images can change a read.

Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) turns the
address into 128 bits, enough for eight neighbouring lines: 16 bits each, the upper 12 of which
choose one of 4,096 equally likely normal quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

LINES_PER_DRAW = 8
QUANTILE_BITS = 12
_MASK = 0xFFFF_FFFF
_MULTIPLIERS = (0xD251_1F53, 0xCD9E_8D57)
_KEY_STEPS = (0x9E37_79B9, 0xBB67_AE85)
_ROUNDS = 10


class ReadKind(IntEnum):
    """What is drawn in a read; part of the address, so never renumbered."""

    COLUMN = 0
    """Read noise of a column."""
    ROW = 1
    """Input noise of a word line."""


@dataclass(frozen=True)
class Read:
    """Address of one read of one row block."""

    kind: ReadKind
    layer: int
    """Position of the layer in the network, below 2^12."""
    image: int
    """Number of the image in its set, below 2^32."""
    timestep: int
    """Below 2^12."""
    window: int
    """Output position in raster order, below 2^32."""
    bit: int
    """Input bit, below 2^4."""
    row_block: int
    """Number of the rows that are driven together: a row block, or with `crossbar.rows_per_read` a
    group of its rows; below 2^15."""

    def counter(self, first_line: int) -> tuple[int, int, int, int]:
        """The four counter words of the draw for eight lines from `first_line`, below 2^20, on."""
        return (
            self.image,
            self.window,
            (self.layer << 20) | (self.timestep << 8) | (self.bit << 4) | self.kind,
            (self.row_block << 17) | (first_line // LINES_PER_DRAW),
        )


def philox4x32(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Philox4x32-10: four random 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return c0, c1, c2, c3


def normal_quantiles() -> npt.NDArray[np.float32]:
    """float32 (4096,): the middles of equally likely slices of the normal distribution, ascending,
    scaled to unit variance; the outermost are ±3.67."""
    count = 1 << QUANTILE_BITS
    normal = NormalDist()
    upper = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count // 2, count)])
    upper /= np.sqrt(np.mean(upper**2))
    return np.concatenate([-upper[::-1], upper]).astype(np.float32)


def line_normals(
    seed: int, read: Read, lines: int, quantiles: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Standard normal deviates of the lines 0.. of one read.

    Parameters
    ----------
    quantiles : `normal_quantiles()`.

    Returns
    -------
    float32 (lines,)
    """
    key = (seed & _MASK, seed >> 32)
    out = np.empty(lines, np.float32)
    for first in range(0, lines, LINES_PER_DRAW):
        words = philox4x32(read.counter(first), key)
        for line in range(first, min(first + LINES_PER_DRAW, lines)):
            word, half = divmod(line - first, 2)
            drawn = words[word] >> (16 * half) & 0xFFFF
            out[line] = quantiles[drawn >> (16 - QUANTILE_BITS)]
    return out
