"""Tiny ImageNet: 200 classes of ImageNet in 64 × 64 pixels (Stanford CS231n)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError
from imcsim.network.datasets.files import (
    blaming,
    first_line,
    folders,
    number_of,
    read_lines,
    refuse_incomplete,
)
from imcsim.network.datasets.labelled import LabelledImages

_SIDE = 64


def read_tiny_imagenet(folder: Path, split: str) -> LabelledImages | None:
    """Read ``train``, or the validation split as ``test`` (the labels of the real one are secret).

    A label is the position of the class in the sorted list of WordNet identifiers of
    ``wnids.txt``, as in loaders that sort folders; the file's own order is another. Training
    images come in the order of their numbers, classes in turn, so any prefix is nearly balanced.

    Returns
    -------
    LabelledImages or None
        uint8 (n, 3, 64, 64), grey pictures as RGB; None if nothing of the set is there.
    """
    root = next((each for each in folders(folder) if (each / "wnids.txt").is_file()), None)
    if root is None:
        return None
    wnids = sorted(read_lines(root / "wnids.txt"))
    files = _train_files(root, wnids) if split == "train" else _validation_files(root, wnids)
    images = np.empty((len(files), 3, _SIDE, _SIDE), np.uint8)
    for image, (path, _) in zip(images, files, strict=True):
        with blaming(path):
            image[...] = _read_jpeg(path)
    labels = np.array([label for _, label in files], np.int64)
    return LabelledImages(images, labels, _class_names(root, wnids))


def _train_files(root: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    place = root / "train"
    found = [sorted((place / wnid / "images").glob("*.JPEG")) for wnid in wnids]
    empty = [wnid for wnid, paths in zip(wnids, found, strict=True) if not paths]
    refuse_incomplete(place, [f"{wnid}/images" for wnid in empty])
    files = [(path, label) for label, paths in enumerate(found) for path in paths]
    return sorted(files, key=lambda file: (number_of(file[0]), file[1]))


def _validation_files(root: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    annotations = root / "val" / "val_annotations.txt"
    files = list(_annotated(annotations, {wnid: label for label, wnid in enumerate(wnids)}))
    missing = [path.name for path, _ in files if not path.is_file()]
    refuse_incomplete(annotations.parent / "images", missing)
    if not files:
        raise InputFileError(f"{annotations}: there are no images")
    return files


def _annotated(path: Path, label_of: dict[str, int]) -> Iterator[tuple[Path, int]]:
    """Yield image and label of each line: file name, WordNet identifier, bounding box."""
    for number, line in enumerate(read_lines(path), start=1):
        name, wnid = (*line.split("\t"), "")[:2]
        if wnid not in label_of:
            raise InputFileError(f"{path}:{number}: a file and a class of wnids.txt expected")
        yield path.parent / "images" / name, label_of[wnid]


def _class_names(root: Path, wnids: list[str]) -> tuple[str, ...]:
    """What the classes mean, by ``words.txt``; without it, their WordNet identifiers."""
    words = root / "words.txt"
    if not words.is_file():
        return tuple(wnids)
    meaning = dict(line.split("\t", 1) for line in read_lines(words) if "\t" in line)
    return tuple(meaning.get(wnid, wnid) for wnid in wnids)


def _read_jpeg(path: Path) -> npt.NDArray[np.uint8]:
    """Decode one picture to uint8 (3, 64, 64)."""
    from PIL import Image  # comes with matplotlib

    with path.open("rb") as file:
        try:
            with Image.open(file) as image:
                if image.size != (_SIDE, _SIDE):
                    raise InputFileError(f"{image.width} × {image.height} pixels, 64 × 64 expected")
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
            raise InputFileError(f"not a picture, or a damaged one ({first_line(exc)})") from exc
