"""One file (or folder) of test images, told apart by its first bytes: what ``--data`` takes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from imcsim.errors import InputFileError
from imcsim.network.datasets.cifar import BINARY_RECORD, decode_records
from imcsim.network.datasets.files import blaming, open_archive
from imcsim.network.datasets.labelled import Images, Labels, check_lengths
from imcsim.network.datasets.packed import unpack_planes
from imcsim.network.datasets.pickles import decode_pickle
from imcsim.network.npz import NpzFile


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
    with blaming(path):
        place = _test_batch_in(path) if path.is_dir() else path
    with blaming(place):
        images, labels = _decode(place.read_bytes())
        check_lengths(images, labels)
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
        return decode_pickle(data)
    if data and len(data) % BINARY_RECORD == 0:
        return decode_records(data)
    raise InputFileError(
        "no known format (.npz with images and labels, packed CIFAR .npz, "
        "CIFAR-10 batch or archive)"
    )


def _decode_npz(data: bytes) -> tuple[Images, Labels]:
    npz = NpzFile(io.BytesIO(data))
    if "plane0" in npz.headers:
        return unpack_planes(npz)
    for key in ("images", "labels"):
        if key not in npz.headers:
            raise InputFileError(f"{key}: missing")
    (image_dtype, shape), (label_dtype, label_shape) = npz.headers["images"], npz.headers["labels"]
    if image_dtype != np.uint8 or len(shape) not in (4, 5):
        raise InputFileError(
            "images: uint8 (n, c, h, w) or (n, t, c, h, w) expected, "
            f"found {shape} of {image_dtype}"
        )
    if label_dtype.kind not in "iu" or len(label_shape) != 1:
        raise InputFileError("labels: integers (n,) expected")
    return npz.read("images"), npz.read("labels").astype(np.int64)


def _decode_archive(data: bytes) -> tuple[Images, Labels]:
    """The test batch of ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``."""
    with open_archive(io.BytesIO(data)) as archive:
        for member in archive:
            if Path(member.name).name in ("test_batch", "test_batch.bin") and member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                return _decode(file.read())
    raise InputFileError("the archive holds no test_batch")
