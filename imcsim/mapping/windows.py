"""Which input positions a convolution window needs, and when each one is needed first and last.

Windows slide in raster order, so a tile keeps only the lines in between (line buffer).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.network.layers import Layer

Indices = npt.NDArray[np.int64]


def first_and_last_window(layer: Layer) -> tuple[Indices, Indices]:
    """Raster index of the first and the last window that uses each input position; −1 if none does.

    Returns
    -------
    first, last : int64 (h·w,)
    """
    _, height, width = layer.input_shape
    _, out_h, out_w = layer.output_shape
    k_h, k_w = layer.window
    first_y, last_y = _span(height, out_h, k_h, layer)
    first_x, last_x = _span(width, out_w, k_w, layer)
    used = (first_y <= last_y)[:, None] & (first_x <= last_x)[None, :]
    first = first_y[:, None] * out_w + first_x[None, :]
    last = last_y[:, None] * out_w + last_x[None, :]
    return np.where(used, first, -1).ravel(), np.where(used, last, -1).ravel()


def used_positions(layer: Layer) -> int:
    """Input positions that any window uses; the others are never sent to a tile."""
    first, _ = first_and_last_window(layer)
    return int((first >= 0).sum())


def _span(size: int, outputs: int, kernel: int, layer: Layer) -> tuple[Indices, Indices]:
    """First and last output coordinate along one axis that covers each input coordinate."""
    padded = np.arange(size) + layer.padding
    first = np.maximum(-(-(padded - kernel + 1) // layer.stride), 0)
    last = np.minimum(padded // layer.stride, outputs - 1)
    return first, last
