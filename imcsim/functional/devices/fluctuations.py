"""What changes from read to read in cells and drivers, as the kernels take it.

`imcsim.functional.devices.noisy_read` says slowly what a read with fluctuations looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imcsim.chip.nonidealities import InputNoise, NonIdeality, ReadNoise
from imcsim.errors import MappingError
from imcsim.functional.devices.chain import find
from imcsim.functional.devices.context import CellContext
from imcsim.functional.devices.read_draws import Read, ReadKind, normal_quantiles

MOST_READS, MOST_LINES, MOST_TIMESTEPS = 1 << 15, 1 << 20, 1 << 12
"""What an address has room for; see `Read`."""


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Read noise and input noise of one layer on one chip instance."""

    seed: int
    layer: int
    cell_sigma: float = 0.0
    """σ of a cell's conductance, a fraction of it."""
    flat_sigma: float = 0.0
    """σ of every cell's conductance [levels]."""
    input_sigma: float = 0.0
    """σ of the voltage of an active word line, a fraction of it."""
    quantiles: npt.NDArray[np.float32] = field(default_factory=normal_quantiles)

    @classmethod
    def of(cls, models: Sequence[NonIdeality], context: CellContext) -> Fluctuations | None:
        """The entries of ``device.nonidealities`` that are drawn in every read; None if there are
        none, or none of any strength."""
        cells, inputs = find(models, ReadNoise), find(models, InputNoise)
        sigma = 0.0 if cells is None else cells.sigma
        input_sigma = 0.0 if inputs is None else inputs.sigma
        if sigma == 0 and input_sigma == 0:
            return None
        is_flat = cells is not None and cells.spread == "constant"
        return cls(
            seed=context.seed,
            layer=context.grid.layer,
            cell_sigma=0.0 if is_flat else sigma,
            flat_sigma=sigma * context.on if is_flat else 0.0,
            input_sigma=input_sigma,
        )

    @property
    def cells_fluctuate(self) -> bool:
        return self.cell_sigma > 0 or self.flat_sigma > 0

    def normals(
        self, kind: ReadKind, image: int, timestep: int, first_window: int, shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """Standard normal deviates of neighbouring windows.

        Parameters
        ----------
        image, timestep : number of the image in its set, and when.
        first_window : output position of the first window, in raster order.
        shape : (windows, input bits, reads of a bit, lines).

        Returns
        -------
        float32 of that shape

        Raises
        ------
        MappingError
            For more reads than have an address of their own.
        """
        from imcsim.kernels.draws import window_normals

        reads, lines = shape[2:]
        if reads > MOST_READS or lines > MOST_LINES or timestep >= MOST_TIMESTEPS:
            raise MappingError(
                f"read noise and input noise can be drawn for {MOST_READS:,} reads of a window,"
                f" {MOST_LINES:,} lines and {MOST_TIMESTEPS:,} timesteps; layer number {self.layer}"
                f" has {reads:,} reads of {lines:,} lines, this is timestep {timestep + 1:,}"
            )
        address = Read(kind, self.layer, image, timestep, first_window, bit=0, row_block=0)
        words = np.empty((4, -(-shape[-1] // 8)), np.uint32)
        drawn = np.empty(shape, np.float32)
        key = np.array([self.seed & 0xFFFFFFFF, self.seed >> 32], np.uint32)
        counter = np.array(address.counter(0), np.uint32)
        window_normals(counter, key, self.quantiles, words, drawn)
        return drawn
