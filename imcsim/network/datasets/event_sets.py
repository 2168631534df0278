"""Data sets of event recordings, each recording made into frames."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError
from imcsim.network.datasets.events import (
    Events,
    decode_aedat2,
    decode_aedat3,
    decode_nmnist,
    fill_frames,
)
from imcsim.network.datasets.files import (
    blaming,
    folders,
    number_of,
    numbered,
    read_lines,
    refuse_incomplete,
)
from imcsim.network.datasets.labelled import Images, LabelledImages

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
GESTURES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_NMNIST_SIDE = 34
_DVS128_SIDE = 128


def _frames(n: int, timesteps: int, side: int) -> Images:
    shape = (n, timesteps, 2, side, side)
    try:
        return np.zeros(shape, np.uint8)
    except (MemoryError, ValueError) as exc:
        size_gb = 2 * n * timesteps * side * side / 1e9
        raise InputFileError(
            f"{n} recordings of {timesteps} timesteps need {size_gb:,.0f} GB of memory"
        ) from exc


def _read_files(
    files: Sequence[tuple[Path, int]],
    decode: Callable[[bytes], Events],
    timesteps: int,
    side: int,
    classes: tuple[str, ...],
) -> LabelledImages:
    """Read recordings of one label each."""
    images = _frames(len(files), timesteps, side)
    for frames, (path, _) in zip(images, files, strict=True):
        with blaming(path):
            fill_frames(frames, decode(path.read_bytes()))
    return LabelledImages(images, np.array([label for _, label in files], np.int64), classes)


def read_nmnist(folder: Path, split: str, timesteps: int) -> LabelledImages | None:
    """Read one split of N-MNIST, in the order of MNIST (that of the file numbers).

    Returns
    -------
    LabelledImages or None
        uint8 (n, timesteps, 2, 34, 34); None if nothing of the set is there.
    """
    digits = tuple("0123456789")
    for parent in folders(folder):
        place = parent / split.capitalize()
        found = {digit: list((place / digit).glob("*.bin")) for digit in digits}
        if not any(found.values()):
            continue
        refuse_incomplete(place, [digit for digit in digits if not found[digit]])
        files = [(path, int(digit)) for digit in digits for path in found[digit]]
        files.sort(key=lambda file: (number_of(file[0]), file[0]))
        return _read_files(files, decode_nmnist, timesteps, _NMNIST_SIDE, digits)
    return None


def read_cifar10dvs(folder: Path, split: str, timesteps: int) -> LabelledImages | None:
    """Read one split of CIFAR10-DVS, in the order of the file numbers, classes in turn.

    The set has no official split: the first nine tenths of each class, by file number, are
    ``train``, the rest is ``test``. 9 : 1 is what the literature uses (S. Deng et al., ICLR 2022;
    Y. Li et al., 2023), but others take a random tenth or the first one: accuracies on this set
    compare within one split only.

    Returns
    -------
    LabelledImages or None
        uint8 (n, timesteps, 2, 128, 128); None if nothing of the set is there.
    """
    for place in folders(folder):
        found = {name: numbered((place / name).glob("*.aedat")) for name in CIFAR10_CLASSES}
        if not any(found.values()):
            continue
        refuse_incomplete(place, [name for name in CIFAR10_CLASSES if not found[name]])
        refuse_incomplete(place, [gap for name in CIFAR10_CLASSES for gap in _gaps(found[name])])
        files = []
        for label, name in enumerate(CIFAR10_CLASSES):
            train = len(found[name]) * 9 // 10
            chosen = found[name][:train] if split == "train" else found[name][train:]
            files += [(position, label, path) for position, path in enumerate(chosen)]
        in_turn = [(path, label) for _, label, path in sorted(files)]
        return _read_files(in_turn, decode_aedat2, timesteps, _DVS128_SIDE, CIFAR10_CLASSES)
    return None


def _gaps(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the names that the numbers of `paths` leave out."""
    name = paths[0].name
    there = {number_of(path) for path in paths}
    for number in range(min(there), max(there)):
        if number not in there:
            yield name.replace(f"_{number_of(paths[0])}.", f"_{number}.")


@dataclass(frozen=True)
class _Gesture:
    """One row of a label file: when somebody makes which gesture [µs]."""

    label: int
    start: int
    stop: int


def read_dvs128gesture(folder: Path, split: str, timesteps: int) -> LabelledImages | None:
    """Read one split of DVS128 Gesture, one sample per gesture of each trial.

    The trials of each split are those of ``trials_to_train.txt`` and ``trials_to_test.txt``.

    Returns
    -------
    LabelledImages or None
        uint8 (n, timesteps, 2, 128, 128), labels 0..10 for the classes 1..11 of the label files;
        None if nothing of the set is there.
    """
    trials_file = f"trials_to_{split}.txt"
    place = next((each for each in folders(folder) if (each / trials_file).is_file()), None)
    if place is None:
        return None
    trials = [place / name for name in read_lines(place / trials_file)]
    labels = [trial.with_name(f"{trial.stem}_labels.csv") for trial in trials]
    needed = [path for pair in zip(trials, labels, strict=True) for path in pair]
    refuse_incomplete(place, [path.name for path in needed if not path.is_file()])
    gestures = [_read_gestures(path) for path in labels]
    images = _frames(sum(map(len, gestures)), timesteps, _DVS128_SIDE)
    rest = iter(images)
    for trial, rows in zip(trials, gestures, strict=True):
        with blaming(trial):
            events = decode_aedat3(trial.read_bytes())
            for row in rows:
                _fill_gesture(next(rest), events, row)
    numbers = [row.label for rows in gestures for row in rows]
    return LabelledImages(images, np.array(numbers, np.int64), GESTURES)


def _fill_gesture(frames: npt.NDArray[np.uint8], events: Events, row: _Gesture) -> None:
    try:
        fill_frames(frames, events.between(row.start, row.stop))
    except InputFileError as exc:
        raise InputFileError(f"from {row.start} to {row.stop} µs: {exc}") from exc


def _read_gestures(path: Path) -> list[_Gesture]:
    """Read a label file: a header, then class (1..11), start and stop [µs]."""
    rows = []
    for number, fields in enumerate(csv.reader(read_lines(path)[1:]), start=2):
        try:
            label, start, stop = (int(field) for field in fields)
        except ValueError as exc:
            raise InputFileError(f"{path}:{number}: three whole numbers expected") from exc
        if not 1 <= label <= len(GESTURES):
            raise InputFileError(f"{path}:{number}: class {label} is outside 1..{len(GESTURES)}")
        if stop <= start:
            raise InputFileError(f"{path}:{number}: the gesture ends before it starts")
        rows.append(_Gesture(label - 1, start, stop))
    return rows
