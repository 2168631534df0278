"""CIFAR-10 and CIFAR-100 in each form in which they are distributed.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imcsim.errors import InputFileError
from imcsim.network.datasets.files import blaming, folders, open_archive, refuse_incomplete
from imcsim.network.datasets.labelled import (
    Images,
    LabelledImages,
    Labels,
    check_labels,
    check_lengths,
)
from imcsim.network.datasets.packed import unpack_planes
from imcsim.network.datasets.pickles import CIFAR_SHAPE, decode_class_names, decode_pickle
from imcsim.network.npz import NpzFile

_PIXELS = 3 * 32 * 32
BINARY_RECORD = 1 + _PIXELS
"""Bytes of one record of a binary CIFAR-10 batch: label, then red, green and blue planes."""


@dataclass(frozen=True)
class _Form:
    """One way in which one of the sets is distributed."""

    kind: Literal["python", "binary", "packed"]
    title: str
    classes: int
    batches: tuple[str, ...]
    """Files of the wanted split, in order."""
    names: str
    """File of the class names; "" if the batches hold them."""
    archive: str
    """Name of the archive of all these files; "" if there is none."""

    @property
    def keys(self) -> tuple[bytes, bytes]:
        """Keys of the labels and of the class names in the pickles."""
        if self.classes == 100:
            return b"fine_labels", b"fine_label_names"
        return b"labels", b"label_names"


def _forms(name: str, split: str) -> tuple[_Form, ...]:
    is_100 = name == "cifar100"
    title, stem = ("CIFAR-100", "cifar-100") if is_100 else ("CIFAR-10", "cifar-10")
    meta, text = (
        ("meta", "fine_label_names.txt") if is_100 else ("batches.meta", "batches.meta.txt")
    )
    python: tuple[str, ...] = (split,) if is_100 else ("test_batch",)
    packed: tuple[str, ...] = (f"{name}_test.npz",)
    if split == "train":
        packed = tuple(f"{name}_train_{k}.npz" for k in range(1, 6))
        python = python if is_100 else tuple(f"data_batch_{k}" for k in range(1, 6))
    binary = tuple(f"{batch}.bin" for batch in python)
    classes = 100 if is_100 else 10
    return (
        _Form("python", title, classes, python, meta, f"{stem}-python.tar.gz"),
        _Form("binary", title, classes, binary, text, f"{stem}-binary.tar.gz"),
        _Form("packed", title, classes, packed, "", ""),
    )


def read_cifar(name: str, folder: Path, split: str) -> LabelledImages | None:
    """Read one split of ``cifar10`` or ``cifar100`` (fine labels).

    Several forms may lie side by side; the first complete one is read: pickles, binary batches,
    packed files. The packed files hold the images in another order than the first two.

    Returns
    -------
    LabelledImages or None
        uint8 (n, 3, 32, 32); None if nothing of the set is there.
    """
    incomplete = None
    for form in _forms(name, split):
        for place in _places(form, folder):
            with blaming(place):
                contents = _contents(place, form)
            try:
                refuse_incomplete(place, [each for each in form.batches if each not in contents])
            except InputFileError as exc:
                incomplete = incomplete or exc
                continue
            return _read_form(form, place, contents)
    if incomplete is not None:
        raise incomplete
    return None


def _places(form: _Form, folder: Path) -> Iterator[Path]:
    """Yield folders with at least one batch of this form, and archives of it."""
    for place in folders(folder):
        if any((place / batch).is_file() for batch in form.batches):
            yield place
        if form.archive and (place / form.archive).is_file():
            yield place / form.archive


def _contents(place: Path, form: _Form) -> dict[str, Path | bytes]:
    """What `place` holds of the wanted files: paths in a folder, bytes out of an archive."""
    wanted = {*form.batches, form.names} - {""}
    if place.is_dir():
        return {name: place / name for name in wanted if (place / name).is_file()}
    found: dict[str, Path | bytes] = {}
    with place.open("rb") as raw, open_archive(raw) as archive:
        for member in archive:
            name = Path(member.name).name
            is_wanted = name in wanted and member.isfile()
            file = archive.extractfile(member) if is_wanted else None
            if file is not None:
                found[name] = file.read()
        while archive.fileobj.read(1 << 20):
            pass  # to the end, where the checksum of the compressed file stands
    return found


def _read_form(form: _Form, place: Path, contents: dict[str, Path | bytes]) -> LabelledImages:
    images, labels = [], []
    classes: tuple[str, ...] = ()
    for batch in form.batches:
        file = contents.pop(batch)
        with blaming(place / batch):
            data = file if isinstance(file, bytes) else file.read_bytes()
            pixels, numbers, classes = _decode(form, data)
            check_lengths(pixels, numbers)
            check_labels(numbers, form.classes)
        images.append(pixels)
        labels.append(numbers)
    if form.names in contents:
        classes = _class_names(form, place, contents[form.names])
    # One batch is the whole split for CIFAR-100: no reason to copy what is in order already.
    joined = images[0] if len(images) == 1 else np.concatenate(images)
    return LabelledImages(
        np.require(joined, requirements=["C", "W"]), np.concatenate(labels), classes
    )


def _decode(form: _Form, data: bytes) -> tuple[Images, Labels, tuple[str, ...]]:
    if form.kind == "python":
        return *decode_pickle(data, form.keys[0], form.title), ()
    if form.kind == "binary":
        return *decode_records(data, label_bytes=2 if form.classes == 100 else 1), ()
    npz = NpzFile(io.BytesIO(data))
    images, labels = unpack_planes(npz)
    if images.shape[1:] != CIFAR_SHAPE:
        raise InputFileError(f"shape: (n, 3, 32, 32) expected, found {images.shape}")
    names = npz.read("classes").ravel() if "classes" in npz.headers else ()
    return images, labels, tuple(str(name) for name in names)


def decode_records(data: bytes, label_bytes: int = 1) -> tuple[Images, Labels]:
    """Decode a binary batch: per image, `label_bytes` labels and 3 × 32 × 32 pixels.

    The last label counts: CIFAR-100 stores the coarse label first, then the fine one.
    """
    size = label_bytes + _PIXELS
    if not data or len(data) % size:
        raise InputFileError(f"{len(data)} bytes, a multiple of {size} expected")
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    images = records[:, label_bytes:].reshape(-1, *CIFAR_SHAPE)
    return images, records[:, label_bytes - 1].astype(np.int64)


def _class_names(form: _Form, place: Path, file: Path | bytes) -> tuple[str, ...]:
    with blaming(place / form.names):
        data = file if isinstance(file, bytes) else file.read_bytes()
        if form.kind == "python":
            return decode_class_names(data, form.keys[1], form.title)
        return tuple(data.decode("utf-8", "replace").split())
