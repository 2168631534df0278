"""Labelled images as arrays, whatever they came in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imcsim.errors import InputFileError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One split of a data set."""

    images: Images
    """(n, c, h, w) pixels, or (n, t, c, h, w) event counts."""
    labels: Labels
    """(n,), from 0."""
    classes: tuple[str, ...] = ()
    """What the labels mean; empty if the files do not say it."""

    @cached_property
    def sha256(self) -> str:
        """Hex digest of shape, images and labels, the same in whatever files they came.

        The order counts: a shuffled distribution is another set of bytes.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        return digest.hexdigest()


def check_lengths(images: Images, labels: Labels) -> None:
    """Refuse an empty set, or one whose labels are not those of its images.

    Raises
    ------
    InputFileError
        The reason, for the caller to put a path in front.
    """
    if len(images) != len(labels):
        raise InputFileError(f"{len(images)} images, but {len(labels)} labels")
    if not len(images):
        raise InputFileError("there are no images")


def check_labels(labels: Labels, classes: int) -> None:
    """Refuse labels outside 0..classes − 1; the errors are as in `check_lengths`."""
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise InputFileError(f"label {outside[0]} is outside 0..{classes - 1}")
