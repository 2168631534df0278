"""Image sets in the formats they come in: packed CIFAR, the original CIFAR-10 archives, plain
``.npz``.

Everything becomes ``images`` uint8 (n, c, h, w) and ``labels`` int64 (n,).
"""

from __future__ import annotations

import io
import lzma
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError, WorkloadError
from imcsim.network.npz import NpzFile

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

CIFAR_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
"""Bytes of one record of a binary CIFAR-10 batch: label, then red, green and blue planes."""
_LZMA = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 4, "lp": 0, "pb": 0}]


def read_images(path: str | os.PathLike[str]) -> tuple[Images, Labels]:
    """Read a set of labelled images.

    Parameters
    ----------
    path
        An ``.npz`` with ``images`` and ``labels``; a packed CIFAR ``.npz`` (see `unpack_planes`);
        a CIFAR-10 batch (``test_batch``, ``test_batch.bin``); or the CIFAR-10 archive or folder,
        of which the test batch is read.

    Raises
    ------
    InputFileError
        One line with the file and the reason.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = _test_batch_in(path)
        data = path.read_bytes()
        images, labels = _decode(data)
    except OSError as exc:
        raise InputFileError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except InputFileError as exc:
        raise InputFileError(f"{path}: {exc}") from exc
    if len(images) != len(labels):
        raise InputFileError(f"{path}: {len(images)} images, but {len(labels)} labels")
    if not len(images):
        raise InputFileError(f"{path}: there are no images")
    return images, labels


def _test_batch_in(folder: Path) -> Path:
    for name in ("test_batch.bin", "test_batch", "cifar10_test.npz"):
        found = sorted(folder.rglob(name))
        if found:
            return found[0]
    raise InputFileError(
        "the folder holds no images (test_batch, test_batch.bin or cifar10_test.npz)"
    )


def _decode(data: bytes) -> tuple[Images, Labels]:
    """Tell the formats apart by their first bytes."""
    if data.startswith(b"PK"):
        return _decode_npz(data)
    if data.startswith((b"\x1f\x8b", b"BZh")):
        return _decode_archive(data)
    if data.startswith(b"\x80"):
        return _decode_pickle(data)
    if data and len(data) % _RECORD == 0:
        return _decode_records(data)
    raise InputFileError(
        "no known format (.npz with images and labels, packed CIFAR .npz, "
        "CIFAR-10 batch or archive)"
    )


def _decode_npz(data: bytes) -> tuple[Images, Labels]:
    try:
        npz = NpzFile(io.BytesIO(data))
        if "plane0" in npz.headers:
            return unpack_planes(npz)
        for key in ("images", "labels"):
            if key not in npz.headers:
                raise InputFileError(f"{key}: missing")
        (image_dtype, shape), (label_dtype, _) = npz.headers["images"], npz.headers["labels"]
        if image_dtype != np.uint8 or len(shape) not in (4, 5):
            raise InputFileError(
                "images: uint8 (n, c, h, w) or (n, t, c, h, w) expected, "
                f"found {shape} of {image_dtype}"
            )
        if label_dtype.kind not in "iu" or len(npz.headers["labels"][1]) != 1:
            raise InputFileError("labels: integers (n,) expected")
        return npz.read("images"), npz.read("labels").astype(np.int64)
    except WorkloadError as exc:
        raise InputFileError(str(exc)) from exc


def _decode_records(data: bytes) -> tuple[Images, Labels]:
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, *CIFAR_SHAPE), records[:, 0].astype(np.int64)


def _decode_archive(data: bytes) -> tuple[Images, Labels]:
    """The test batch of ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if Path(member.name).name in ("test_batch", "test_batch.bin") and member.isfile():
                    file = archive.extractfile(member)
                    assert file is not None
                    return _decode(file.read())
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise InputFileError(f"damaged archive ({exc})") from exc
    raise InputFileError("the archive holds no test_batch")


def _reconstruct(subtype: object, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    return np.ndarray(shape, dtype)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


class _BatchUnpickler(pickle.Unpickler):
    """Reads dictionaries of numpy arrays and nothing else; other pickles could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a CIFAR-10 batch")
        return allowed[module, name]


def _decode_pickle(data: bytes) -> tuple[Images, Labels]:
    """A batch of ``cifar-10-batches-py``: a pickled dictionary with ``data`` (n, 3072) and
    ``labels``.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
        images = np.asarray(batch[b"data"])
        labels = np.asarray(batch[b"labels"], np.int64)
        if images.dtype != np.uint8 or labels.ndim != 1:
            raise ValueError(f"data of {images.dtype}")
        return images.reshape(-1, *CIFAR_SHAPE), labels
    except Exception as exc:  # a damaged pickle can raise anything
        raise InputFileError(f"not a CIFAR-10 batch ({exc})") from exc


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
    """
    for key in ("shape", "labels", "plane0", "plane1", "plane2"):
        if key not in npz.headers:
            raise InputFileError(f"{key}: missing")
    shape = [int(size) for size in npz.read("shape").ravel()]
    if len(shape) != 4 or shape[1] != 3 or min(shape) < 1 or max(shape) > 1 << 20:
        raise InputFileError(f"shape: (n, 3, h, w) expected, found {tuple(shape)}")
    n, _, height, width = shape
    planes = []
    for k in range(3):
        folded = _decompress(f"plane{k}", npz.read(f"plane{k}").tobytes(), n * height * width)
        errors = np.frombuffer(folded, np.uint8).reshape(n, height, width).astype(np.int16)
        planes.append(_undo_prediction((errors >> 1) ^ -(errors & 1), is_difference=k > 0))
    green, red_less, blue_less = planes
    images = np.stack([green + red_less, green, green + blue_less], axis=1) & 255
    return images.astype(np.uint8), npz.read("labels").astype(np.int64)


def _decompress(key: str, data: bytes, expected: int) -> bytes:
    try:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
        plain = decompressor.decompress(data, max_length=expected + 1)
    except lzma.LZMAError as exc:
        raise InputFileError(f"{key}: damaged ({exc})") from exc
    if len(plain) != expected:
        raise InputFileError(f"{key}: {len(plain)} bytes or more, expected {expected}")
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
