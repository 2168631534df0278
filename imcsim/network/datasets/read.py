"""Data sets by name and split."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from imcsim.errors import InputFileError, UsageError
from imcsim.network.datasets.cifar import read_cifar
from imcsim.network.datasets.event_sets import read_cifar10dvs, read_dvs128gesture, read_nmnist
from imcsim.network.datasets.files import DEPTH
from imcsim.network.datasets.idx import read_mnist
from imcsim.network.datasets.labelled import LabelledImages
from imcsim.network.datasets.sources import SOURCES
from imcsim.network.datasets.tiny_imagenet import read_tiny_imagenet

DATASETS = tuple(source.name for source in SOURCES)
"""The names that `read_dataset` knows."""

_EVENT_READERS: dict[str, Callable[[Path, str, int], LabelledImages | None]] = {
    "nmnist": read_nmnist,
    "cifar10dvs": read_cifar10dvs,
    "dvs128gesture": read_dvs128gesture,
}


def read_dataset(
    name: str,
    folder: str | os.PathLike[str],
    split: Literal["train", "test"],
    timesteps: int | None = None,
) -> LabelledImages:
    """Read one split of a published data set from the files in which it is distributed.

    Parameters
    ----------
    name
        One of `DATASETS`.
    folder
        Where the files are: here, or up to two levels below. Nothing is downloaded.
    split
        For ``tiny_imagenet``, ``test`` is the validation split; for ``cifar10dvs``, see
        `read_cifar10dvs`.
    timesteps
        Number of frames of an event recording (equal slices of its duration). Still images
        have none: they ignore it.

    Returns
    -------
    LabelledImages
        uint8 (n, c, h, w) for still images, (n, timesteps, 2, h, w) for event recordings.

    Raises
    ------
    UsageError
        An unknown name or split, or event recordings without a number of timesteps.
    InputFileError
        One line: what is missing and where to get it, or the damaged file and the reason.
    """
    source = next((each for each in SOURCES if each.name == name), None)
    if source is None:
        raise UsageError(f"unknown data set {name!r} (known: {', '.join(DATASETS)})")
    if split not in ("train", "test"):
        raise UsageError(f"unknown split {split!r} (train or test)")
    place = Path(folder)
    found = _read(name, place, split, timesteps)
    if found is not None:
        return found
    problem = "" if place.is_dir() else " (no such folder)"
    raise InputFileError(
        f"{place}{problem}: no {split} split of {source.title} here or {DEPTH} levels below "
        f"(looked for {source.looks_for}); {source.how_to_get_it()} and put it there"
    )


def _read(name: str, folder: Path, split: str, timesteps: int | None) -> LabelledImages | None:
    if name in _EVENT_READERS:
        if timesteps is None or timesteps < 1:
            raise UsageError(f"{name}: event recordings need a number of timesteps, 1 or more")
        return _EVENT_READERS[name](folder, split, timesteps)
    if name in ("cifar10", "cifar100"):
        return read_cifar(name, folder, split)
    if name == "tiny_imagenet":
        return read_tiny_imagenet(folder, split)
    return read_mnist(name, folder, split)
