"""Packed planes against an encoder that takes one pixel at a time."""

from __future__ import annotations

import io

import numpy as np

from imcsim.network.datasets import unpack_planes
from imcsim.network.npz import NpzFile
from tests.network.datasets.encoders import IMAGES, LABELS, packed_batch


def test_packed_planes_are_unpacked_without_loss() -> None:
    smooth = np.add.outer(np.arange(7), np.arange(5)) * 20
    images = np.concatenate([IMAGES[:2, :, :7, :5], np.broadcast_to(smooth, (1, 3, 7, 5))])
    images = images.astype(np.uint8)
    read, labels = unpack_planes(NpzFile(io.BytesIO(packed_batch(images, LABELS[:3]))))
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(labels, LABELS[:3])
    assert read.dtype == np.uint8 and labels.dtype == np.int64
