"""What labelled images are, apart from where they come from."""

from __future__ import annotations

import numpy as np

from imcsim.network.datasets import LabelledImages
from tests.network.datasets.encoders import IMAGES, LABELS


def test_the_digest_depends_on_values_only() -> None:
    digest = LabelledImages(IMAGES, LABELS).sha256
    strided = np.repeat(IMAGES, 2, axis=3)[..., ::2]
    assert LabelledImages(strided, LABELS.astype(np.int64), tuple("abc")).sha256 == digest
    assert len(digest) == 64


def test_the_digest_sees_pixels_labels_order_and_shape() -> None:
    other = IMAGES.copy()
    other[4, 2, 31, 31] ^= 1
    sets = [
        LabelledImages(IMAGES, LABELS),
        LabelledImages(other, LABELS),
        LabelledImages(IMAGES, LABELS[::-1]),
        LabelledImages(IMAGES[::-1], LABELS[::-1]),
        LabelledImages(IMAGES.reshape(5, 3, 16, 64), LABELS),
    ]
    assert len({each.sha256 for each in sets}) == len(sets)
