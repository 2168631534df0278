"""Which row of a layer's weight matrix drives which word line.

The matrix of a layer has rows (ky·k_w + kx)·c_in + c (`Layer.matrix`); word lines may stand in
another order, and are cut into row blocks, one crossbar high at most.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.network.layers import Layer


def matrix_rows(layer: Layer, row_order: str) -> npt.NDArray[np.int64]:
    """int64 (rows,): row of `layer.matrix` on each word line.

    `flat` is the order of im2col (torch's ``unfold``), (c·k_h + ky)·k_w + kx; the others leave the
    matrix as it is.
    """
    channels, window = layer.input_shape[0], layer.window
    rows = np.arange(channels * window[0] * window[1]).reshape(*window, channels)
    return rows.transpose(2, 0, 1).ravel() if row_order == "flat" else rows.ravel()


def row_starts(layer: Layer, row_order: str, crossbar_rows: int) -> tuple[int, ...]:
    """First word line of every row block, ascending.

    With `position`, no row block spans two kernel positions: the channels of each are cut by
    themselves.
    """
    channels, (k_h, k_w) = layer.input_shape[0], layer.window
    rows = channels * k_h * k_w
    piece = channels if row_order == "position" else rows
    return tuple(
        first + start for first in range(0, rows, piece) for start in range(0, piece, crossbar_rows)
    )
