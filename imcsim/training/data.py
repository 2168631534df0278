"""The images of a training on its device: trained on, held out, and tested at the very end."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imcsim.errors import UsageError
from imcsim.network.datasets import LabelledImages, read_dataset
from imcsim.training.export import Split
from imcsim.training.network import Encoding
from imcsim.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingData:
    """Three disjoint sets, and what enters the network."""

    train: Split
    held_out: Split
    test: Split
    encoding: Encoding
    classes: int
    sha256: dict[str, str]
    """Of the training and the test split as read."""


def read_training_data(recipe: Recipe, folder: str | os.PathLike[str]) -> TrainingData:
    """Read the recipe's data set and hold images out.

    Raises
    ------
    InputFileError
        If the data set is not in `folder`, or damaged.
    UsageError
        If the recipe holds out what cannot be held out.
    """
    name, steps = recipe.data.name, recipe.network.timesteps
    known = read_dataset(name, folder, "train", steps)
    test = read_dataset(name, folder, "test", steps)
    return split_data(known, test, recipe.data.held_out)


def split_data(known: LabelledImages, test: LabelledImages, held_out: int) -> TrainingData:
    """Divide the training split; mean and standard deviation come from what is trained on."""
    classes = int(known.labels.max()) + 1
    chosen = last_of_each_class(known.labels, held_out, classes)
    train = Split(known.images[~chosen], known.labels[~chosen])
    return TrainingData(
        train=train,
        held_out=Split(known.images[chosen], known.labels[chosen]),
        test=Split(test.images, test.labels),
        encoding=_encoding(train.images),
        classes=classes,
        sha256={"train": known.sha256, "test": test.sha256},
    )


def last_of_each_class(
    labels: npt.NDArray[np.int64], count: int, classes: int
) -> npt.NDArray[np.bool_]:
    """Mark `count` images, as many of each class, the last in the order of the set.

    Raises
    ------
    UsageError
        If `count` is no multiple of the classes, or a class has too few images.
    """
    each, rest = divmod(count, classes)
    if rest or not each:
        raise UsageError(f"data.held_out: {count} is no multiple of the {classes} classes")
    chosen = np.zeros(len(labels), np.bool_)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        if len(members) <= each:
            raise UsageError(
                f"data.held_out: {each} of class {label} are to be held out, it has {len(members)}"
            )
        chosen[members[-each:]] = True
    return chosen


def _encoding(images: npt.NDArray[np.uint8]) -> Encoding:
    """Statistics of pixel/255 per channel, to four digits."""
    c, h, w = images.shape[-3:]
    if images.ndim == 5:
        return Encoding((c, h, w), "events")
    histograms = [np.bincount(images[:, k].ravel(), minlength=256) for k in range(c)]
    level = np.arange(256) / 255
    mean = [float(np.average(level, weights=counts)) for counts in histograms]
    std = [
        float(np.sqrt(np.average((level - m) ** 2, weights=counts)))
        for m, counts in zip(mean, histograms, strict=True)
    ]
    return Encoding(
        (c, h, w),
        "direct",
        tuple(round(m, 4) for m in mean),
        tuple(max(round(s, 4), 1e-4) for s in std),
    )


@dataclass(frozen=True)
class OnDevice:
    """A split as tensors; images stay uint8 until they enter the network."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> OnDevice:
        return cls(
            torch.from_numpy(np.ascontiguousarray(split.images)).to(device),
            torch.from_numpy(split.labels).to(device),
        )

    def __len__(self) -> int:
        return len(self.labels)
