"""Conductances that are given instead of programmed: replaying what another tool has drawn.

The file of `device.conductances` is an ``.npz`` with one array ``L<i>`` for each weight layer i of
the network, floats (word lines, planes · stored columns) in cell levels: word lines in the order of
`mapping.row_order`; planes most significant first, positive before negative, each with all outputs
side by side and behind them, with ``mapping.signed_weights: offset_column``, the reference column
of every column block. With ``device.off_current: corrected`` values count from R_off, else from 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.errors import ConfigError, MappingError, WorkloadError
from imcsim.mapping import LayerMapping, Mapping
from imcsim.network.npz import NpzFile


def given_conductances(
    mapping: Mapping, placed: LayerMapping, columns: int
) -> npt.NDArray[np.float64]:
    """float64 (word lines, columns): one layer's part of the file.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds what is no conductance.
    MappingError
        It belongs to another network or mapping.
    """
    path = mapping.chip.device.conductances
    assert path is not None
    key, shape = f"L{placed.index}", (placed.rows, columns)
    try:
        with open(path, "rb") as file:
            npz = NpzFile(file)
            if key not in npz.headers:
                raise MappingError(f"{path}: {key} is missing, layer {placed.layer.name} needs it")
            dtype, found = npz.headers[key]
            if dtype.kind != "f":
                raise ConfigError(f"{path}: {key}: must be floats (got {dtype})")
            if found != shape:
                raise MappingError(
                    f"{path}: {key}: shape {found}, layer {placed.layer.name} on"
                    f" {mapping.chip.name} has {shape} (word lines, columns)"
                )
            values = npz.read(key).astype(np.float64)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except WorkloadError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    # NaN compares false; beyond any real cell float32 sums would lose whole levels.
    if not np.all(np.abs(values) <= 1e6):
        raise ConfigError(f"{path}: {key}: must be numbers of at most 1e6 levels")
    return values
