"""CIFAR batches as Python pickles, read without running code."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError
from imcsim.network.datasets.files import first_line
from imcsim.network.datasets.labelled import Images, Labels

CIFAR_SHAPE = (3, 32, 32)


def _reconstruct(subtype: object, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    return np.ndarray(shape, dtype)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


class _BatchUnpickler(pickle.Unpickler):
    """Reads dictionaries of numpy arrays and nothing else; other pickles could run any code."""

    title = "CIFAR-10"

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a {self.title} batch")
        return allowed[module, name]


def _load(data: bytes, title: str) -> Any:
    unpickler = _BatchUnpickler(io.BytesIO(data), encoding="bytes")
    unpickler.title = title
    return unpickler.load()


def decode_pickle(
    data: bytes, key: bytes = b"labels", title: str = "CIFAR-10"
) -> tuple[Images, Labels]:
    """Decode a batch: a pickled dictionary with ``data`` (n, 3072) and labels under `key`.

    Raises
    ------
    InputFileError
        The reason, for the caller to put a path in front.
    """
    try:
        batch = _load(data, title)
        images = np.asarray(batch[b"data"])
        labels = np.asarray(batch[key], np.int64)
        if images.dtype != np.uint8 or labels.ndim != 1:
            raise ValueError(f"data of {images.dtype}")
        return images.reshape(-1, *CIFAR_SHAPE), labels
    except Exception as exc:  # a damaged pickle can raise anything
        raise InputFileError(f"not a {title} batch ({first_line(exc)})") from exc


def decode_class_names(data: bytes, key: bytes, title: str) -> tuple[str, ...]:
    """Decode the class names of ``batches.meta`` or ``meta``; errors are as in `decode_pickle`."""
    try:
        return tuple(bytes(name).decode() for name in _load(data, title)[key])
    except Exception as exc:  # as above
        raise InputFileError(f"no {title} class names ({first_line(exc)})") from exc
