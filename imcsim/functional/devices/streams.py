"""Draws that are fixed when a chip is made: one Philox stream per crossbar and kind of draw.

A draw is a pure function of (seed, kind, layer, crossbar, attempt, cell). A stream always fills a
whole crossbar, so a draw depends neither on how full that is, nor on the order of the crossbars;
and no model's draws move when another model is switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from imcsim.mapping import LayerMapping

Draws = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What is drawn; part of the key, so never renumbered."""

    WEIGHT = 0
    """Programming of whole weights."""
    DEVICE = 1
    """Programming of cells."""
    STUCK_AT = 2
    DRIFT = 3


@dataclass(frozen=True)
class CellGrid:
    """How the cells of one layer lie on its crossbars.

    Crossbars are numbered down the row blocks first, as in `imcsim.mapping.LayerMapping`. A column
    of reference weights, one for each column block, stands behind the others, on its crossbars as
    in the arrays of this package: c_out weights, then one reference for each column block.
    """

    layer: int
    """Position of the layer in the network."""
    rows: int
    """Word lines in all."""
    c_out: int
    """Weights side by side in all."""
    crossbar_rows: int
    crossbar_cols: int
    weights_per_crossbar: int
    """Without the reference."""
    row_starts: tuple[int, ...]
    """First row of every row block, ascending."""
    arrays_per_weight: int = 1
    """Crossbars over which the planes of a weight are spread, in order."""
    has_reference: bool = False

    @classmethod
    def of(cls, placed: LayerMapping, has_reference: bool = False) -> CellGrid:
        """Grid of a mapped layer."""
        return cls(
            layer=placed.index,
            rows=placed.rows,
            c_out=placed.c_out,
            crossbar_rows=placed.crossbar_rows,
            crossbar_cols=placed.crossbar_cells // placed.crossbar_rows,
            weights_per_crossbar=placed.weights_per_crossbar,
            row_starts=placed.row_starts,
            arrays_per_weight=placed.arrays_per_weight,
            has_reference=has_reference,
        )

    @property
    def of_weights(self) -> CellGrid:
        """Where whole weights stand, wherever their cells are; references are not programmed."""
        return replace(self, arrays_per_weight=1, has_reference=False)

    @property
    def row_blocks(self) -> int:
        return len(self.row_starts)

    @property
    def col_blocks(self) -> int:
        return -(-self.c_out // self.weights_per_crossbar)

    @property
    def width(self) -> int:
        """Weights side by side, references included."""
        return self.c_out + self.col_blocks * self.has_reference

    def row_slice(self, block: int) -> slice:
        """Rows of the layer that a row block holds."""
        ends = (*self.row_starts[1:], self.rows)
        return slice(self.row_starts[block], ends[block])

    @property
    def column_block(self) -> Indices:
        """int64 (width,): column block of every weight."""
        weights = np.arange(self.c_out) // self.weights_per_crossbar
        return np.concatenate([weights, np.arange(self.width - self.c_out)])

    @property
    def place(self) -> Indices:
        """int64 (width,): place of every weight on its crossbar."""
        weights = np.arange(self.c_out) % self.weights_per_crossbar
        references = np.full(self.width - self.c_out, self.weights_per_crossbar)
        return np.concatenate([weights, references])

    def array_of_column(self, planes: int) -> Indices:
        """int64 (planes, width): which of a row block's crossbars each column stands on, ``column
        block · arrays per weight + array``."""
        array = np.arange(planes) // (planes // self.arrays_per_weight)
        return self.column_block * self.arrays_per_weight + array[:, None]


@dataclass(frozen=True)
class CellStream:
    """Draws of one kind for the cells of one layer of one chip."""

    seed: int
    """Chip instance, 0..2^64 − 1."""
    kind: Kind
    grid: CellGrid

    def normal(self, cells: int, attempt: int = 0) -> Draws:
        """Standard normal draws (rows, cells, width), `cells` for every weight."""
        return self._fill(cells, attempt, np.random.Generator.standard_normal)

    def uniform(self, cells: int, attempt: int = 0) -> Draws:
        """Draws (rows, cells, width), uniform in [0, 1)."""
        return self._fill(cells, attempt, np.random.Generator.random)

    def _fill(self, cells: int, attempt: int, draw: Callable[..., Draws]) -> Draws:
        grid = self.grid
        out = np.empty((grid.rows, cells, grid.width))
        column_block, place = grid.column_block, grid.place
        per_array = cells // grid.arrays_per_weight
        for array in range(grid.col_blocks * grid.arrays_per_weight):
            col_block, part = divmod(array, grid.arrays_per_weight)
            planes = slice(part * per_array, (part + 1) * per_array)
            weights = np.flatnonzero(column_block == col_block)
            for row_block in range(grid.row_blocks):
                rows = grid.row_slice(row_block)
                generator = self._generator(array * grid.row_blocks + row_block, attempt)
                drawn = self._crossbar(generator, draw, per_array)
                used = drawn[: rows.stop - rows.start, place[weights]]
                out[rows, planes, weights] = used.transpose(0, 2, 1)
        return out

    def _crossbar(
        self, generator: np.random.Generator, draw: Callable[..., Draws], cells: int
    ) -> Draws:
        """Draws (rows, places, cells) of a whole crossbar, the reference's after all others."""
        grid = self.grid
        drawn = draw(generator, (grid.crossbar_rows, grid.weights_per_crossbar, cells))
        if not grid.has_reference:
            return drawn
        reference = draw(generator, (grid.crossbar_rows, 1, cells))
        return np.concatenate([drawn, reference], axis=1)

    def _generator(self, crossbar: int, attempt: int) -> np.random.Generator:
        # The highest word of the counter is never reached by counting: attempts cannot overlap.
        key = np.array(
            [self.seed, (self.kind << 60) | (self.grid.layer << 32) | crossbar], np.uint64
        )
        counter = np.array([0, 0, 0, attempt], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))
