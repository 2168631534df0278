"""MNIST and sets in its form: idx files, or raw bytes behind xz.

Y. LeCun et al., Proc. IEEE 86(11), 1998; H. Xiao et al., arXiv:1708.07747 (Fashion-MNIST).
"""

from __future__ import annotations

import gzip
import lzma
import math
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError
from imcsim.network.datasets.files import blaming, first_line, folders, refuse_incomplete
from imcsim.network.datasets.labelled import (
    Images,
    LabelledImages,
    Labels,
    check_labels,
    check_lengths,
)
from imcsim.network.datasets.packed import decompress

_MAX_BYTES = 2**31
_SIDE = 28
_FIRST_LABELS = {
    ("mnist", "train"): (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    ("mnist", "test"): (7, 2, 1, 0, 4, 1, 4, 9, 5, 9),
    ("fashion_mnist", "train"): (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
    ("fashion_mnist", "test"): (9, 2, 1, 1, 6, 1, 4, 6, 5, 7),
}
"""The files of the two sets have the same names; the labels tell them apart."""
_CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}


def read_mnist(name: str, folder: Path, split: str) -> LabelledImages | None:
    """Read one split of ``mnist`` or ``fashion_mnist``.

    A pair of files that begins with the other set's labels is passed over, so both sets may lie
    below one folder.

    Returns
    -------
    LabelledImages or None
        uint8 (n, 1, h, w); None if nothing of the set is there.
    """
    other = _FIRST_LABELS["fashion_mnist" if name == "mnist" else "mnist", split]
    for image_file, label_file in _pairs(name, folder, split):
        is_idx = not label_file.name.endswith(".npy")
        with blaming(label_file):
            labels = _read_idx(label_file, 1).astype(np.int64) if is_idx else _read_npy(label_file)
            if tuple(labels[: len(other)]) == other:
                continue
            check_labels(labels, len(_CLASSES[name]))
        with blaming(image_file):
            images = _read_idx(image_file, 3) if is_idx else _read_xz(image_file, len(labels))
            check_lengths(images, labels)
        return LabelledImages(images[:, np.newaxis], labels, _CLASSES[name])
    return None


def _pairs(name: str, folder: Path, split: str) -> Iterator[tuple[Path, Path]]:
    """Yield the pairs of images and labels there are.

    Raises
    ------
    InputFileError
        One of a pair is there without the other.
    """
    start = "train" if split == "train" else "t10k"
    # Some unpackers take the kind for a suffix: train-images.idx3-ubyte.
    forms = (
        (
            [f"{start}-images{dot}idx3-ubyte{gz}" for dot in "-." for gz in ("", ".gz")],
            [f"{start}-labels{dot}idx1-ubyte{gz}" for dot in "-." for gz in ("", ".gz")],
        ),
        ([f"{name}_{split}.u8.xz"], [f"{name}_{split}_labels.npy"]),
    )
    for place in folders(folder):
        for image_names, label_names in forms:
            image_file, label_file = _first(place, image_names), _first(place, label_names)
            if image_file and label_file:
                yield image_file, label_file
            elif image_file or label_file:
                refuse_incomplete(place, [label_names[0] if image_file else image_names[0]])


def _first(place: Path, names: list[str]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an idx file of bytes, compressed or not.

    Two zero bytes, the type (8: unsigned byte), the number of dimensions, then the sizes as
    big-endian 32-bit numbers, then the data.
    """
    with path.open("rb") as raw:
        file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        try:
            return _decode_idx(file, dimensions)
        except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
            raise InputFileError(f"damaged ({exc})") from exc


def _decode_idx(file: BufferedReader | gzip.GzipFile, dimensions: int) -> npt.NDArray[np.uint8]:
    magic = bytes([0, 0, 8, dimensions])
    header = file.read(4 + 4 * dimensions)
    if header[:4] != magic or len(header) != 4 + 4 * dimensions:
        raise InputFileError(f"not an idx file of bytes in {dimensions} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    if math.prod(shape) >= _MAX_BYTES:
        raise InputFileError(f"shape {shape} is absurdly large")
    data = np.empty(shape, np.uint8)
    room, filled = data.reshape(-1).data, 0
    while filled < len(room):
        got = file.readinto(room[filled:])
        if not got:
            break
        filled += got
    if filled < len(room) or file.read(1):
        found = "more" if filled == len(room) else f"{filled} bytes"
        raise InputFileError(f"{len(room)} bytes of data expected for {shape}, found {found}")
    return data


def _read_npy(path: Path) -> Labels:
    with path.open("rb"):  # what the system has to say about it comes from here
        pass
    try:
        # Mapped, because reading would allocate whatever the header claims.
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as exc:  # a damaged header can raise anything
        raise InputFileError(f"not a .npy file, or a truncated one ({first_line(exc)})") from exc
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputFileError(f"integers (n,) expected, found {array.shape} of {array.dtype}")
    return np.array(array, np.int64)


def _read_xz(path: Path, n: int) -> Images:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    data = decompress(decompressor, path.read_bytes(), n * _SIDE * _SIDE)
    images = np.frombuffer(data, np.uint8).reshape(n, _SIDE, _SIDE)
    return np.require(images, requirements=["C", "W"])
