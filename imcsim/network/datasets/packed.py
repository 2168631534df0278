"""Colour images packed without loss: about half the size of the usual archives."""

from __future__ import annotations

import lzma

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError
from imcsim.network.datasets.labelled import Images, Labels
from imcsim.network.npz import NpzFile


def unpack_planes(npz: NpzFile) -> tuple[Images, Labels]:
    """Read losslessly packed colour images.

    The planes G, R−G and B−G modulo 256 are stored as errors of the MED predictor of JPEG-LS
    (Weinberger et al., IEEE Trans. Image Processing 9(8), 2000), folded to bytes (0, −1, 1, −2,
    ... as 0, 1, 2, 3, ...) and compressed as raw LZMA2. The format and its first reader are those
    of the packed CIFAR sets' own `unpack.py`.

    Parameters
    ----------
    npz
        Keys ``shape`` (n, 3, h, w), ``labels``, ``plane0`` to ``plane2``.

    Raises
    ------
    InputFileError, WorkloadError
        The reason, for the caller to put a path in front.
    """
    for key in ("shape", "labels", "plane0", "plane1", "plane2"):
        if key not in npz.headers:
            raise InputFileError(f"{key}: missing")
    shape = [int(size) for size in npz.read("shape").ravel()]
    if len(shape) != 4 or shape[1] != 3 or min(shape) < 1 or max(shape) > 1 << 20:
        raise InputFileError(f"shape: (n, 3, h, w) expected, found {tuple(shape)}")
    n, _, height, width = shape
    green = _plane(npz, 0, (n, height, width))
    images = np.empty((n, 3, height, width), np.uint8)
    images[:, 1] = green
    for channel, k in ((0, 1), (2, 2)):
        difference = _plane(npz, k, (n, height, width))
        difference += green
        difference &= 255
        images[:, channel] = difference
    return images, npz.read("labels").astype(np.int64)


def _plane(npz: NpzFile, k: int, shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 4, "lp": 0, "pb": 0}]
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    n, height, width = shape
    key = f"plane{k}"
    folded = decompress(decompressor, npz.read(key).tobytes(), n * height * width, key)
    errors = np.frombuffer(folded, np.uint8).reshape(shape).astype(np.int16)
    return _undo_prediction((errors >> 1) ^ -(errors & 1), is_difference=k > 0)


def decompress(
    decompressor: lzma.LZMADecompressor, data: bytes, expected: int, key: str = ""
) -> bytes:
    """Decompress `data` to exactly `expected` bytes; it never grows beyond them.

    Raises
    ------
    InputFileError
        The reason, behind `key` if one is given.
    """
    prefix = f"{key}: " if key else ""
    try:
        plain = decompressor.decompress(data, max_length=expected + 1)
    except (lzma.LZMAError, EOFError) as exc:
        raise InputFileError(f"{prefix}damaged ({exc})") from exc
    if len(plain) != expected:
        raise InputFileError(f"{prefix}{len(plain)} bytes or more, expected {expected}")
    return plain


def _undo_prediction(errors: npt.NDArray[np.int16], is_difference: bool) -> npt.NDArray[np.int16]:
    """Rebuild a plane (n, h, w) pixel by pixel, all images at once.

    The prediction is the median of west, north and west + north − northwest; the first row knows
    only its west, the first column only its north neighbour. Values wrap at 256: 0..255, or
    −128..127 for a colour difference.
    """
    n, height, width = errors.shape
    # One row and column of padding in front; each position holds all images side by side.
    plane = np.zeros((height + 1, width + 1, n), np.int16)
    steps = np.ascontiguousarray(errors.transpose(1, 2, 0))
    low = -128 if is_difference else 0
    for y in range(height):
        for x in range(width):
            west, north, corner = plane[y + 1, x], plane[y, x + 1], plane[y, x]
            if y == 0:
                predicted = west
            elif x == 0:
                predicted = north
            else:
                smaller, larger = np.minimum(west, north), np.maximum(west, north)
                predicted = np.clip(west + north - corner, smaller, larger)
            plane[y + 1, x + 1] = ((predicted + steps[y, x] - low) & 255) + low
    return np.ascontiguousarray(plane[1:, 1:].transpose(2, 0, 1))
