"""Which images are trained on, held out and tested, and what enters the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imcsim.errors import InputFileError, UsageError
from imcsim.network.datasets import LabelledImages
from imcsim.training.data import OnDevice, last_of_each_class, read_training_data, split_data
from imcsim.training.export import Split
from tests.training.fake_cifar import TEST, TRAIN, tiny_recipe, write_fake_cifar


def labelled(n: int, shape: tuple[int, ...] = (3, 4, 4), classes: int = 5) -> LabelledImages:
    """Random images; the first pixel is the image's own number."""
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
    images.reshape(n, -1)[:, 0] = np.arange(n)
    return LabelledImages(images, rng.permutation(np.arange(n) % classes))


def numbers(split: Split) -> list[int]:
    return split.images.reshape(len(split), -1)[:, 0].tolist()


@given(st.lists(st.integers(0, 2), min_size=12), st.integers(1, 3))
def test_the_last_images_of_each_class_are_held_out(said: list[int], each: int) -> None:
    labels = np.array([0, 1, 2] * 4 + said)
    chosen = last_of_each_class(labels, 3 * each, 3)
    for label in range(3):
        members = [i for i, one in enumerate(labels.tolist()) if one == label]
        assert np.flatnonzero(chosen & (labels == label)).tolist() == members[-each:]


def test_the_sets_are_disjoint_and_in_the_order_of_the_files() -> None:
    known, test = labelled(100), labelled(20)
    data = split_data(known, test, 15)
    trained, held_out = numbers(data.train), numbers(data.held_out)
    assert (len(trained), len(held_out)) == (85, 15)
    assert sorted(trained + held_out) == list(range(100))
    assert trained == sorted(trained) and held_out == sorted(held_out)
    assert np.bincount(data.held_out.labels).tolist() == [3] * 5
    for split in (data.train, data.held_out):
        np.testing.assert_array_equal(split.labels, known.labels[numbers(split)])
        np.testing.assert_array_equal(split.images, known.images[numbers(split)])
    np.testing.assert_array_equal(data.test.images, test.images)
    assert data.classes == 5
    assert data.sha256 == {"train": known.sha256, "test": test.sha256}


def test_images_are_normalised_by_what_is_trained_on() -> None:
    known = labelled(100)
    data = split_data(known, labelled(20), 15)
    pixels = data.train.images / 255
    np.testing.assert_allclose(data.encoding.mean, pixels.mean((0, 2, 3)), atol=5.1e-5)
    np.testing.assert_allclose(data.encoding.std, pixels.std((0, 2, 3)), atol=5.1e-5)
    assert abs(data.encoding.mean[0] - (known.images / 255).mean((0, 2, 3))[0]) > 1e-3
    assert (data.encoding.kind, data.encoding.image_shape) == ("direct", (3, 4, 4))


def test_images_of_one_colour_can_be_divided_by_their_spread() -> None:
    grey = LabelledImages(np.full((20, 1, 2, 2), 128, np.uint8), np.arange(20) % 2)
    assert split_data(grey, grey, 2).encoding.std == (1e-4,)


def test_event_frames_enter_as_they_are() -> None:
    frames = labelled(20, (3, 2, 4, 4))
    encoding = split_data(frames, frames, 5).encoding
    assert (encoding.kind, encoding.image_shape, encoding.mean) == ("events", (2, 4, 4), ())


@pytest.mark.parametrize("held_out", [3, 7, 12])
def test_each_class_holds_out_as_many(held_out: int) -> None:
    with pytest.raises(UsageError) as caught:
        split_data(labelled(100), labelled(20), held_out)
    assert str(caught.value) == f"data.held_out: {held_out} is no multiple of the 5 classes"


def test_something_of_each_class_must_be_left() -> None:
    with pytest.raises(UsageError) as caught:
        split_data(labelled(100), labelled(20), 100)
    assert str(caught.value) == ("data.held_out: 20 of class 0 are to be held out, it has 20")


def test_a_folder_without_the_data_set_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cifar-10-python\.tar\.gz.*put it there"):
        read_training_data(tiny_recipe(), tmp_path)


def test_a_data_set_is_read_by_the_name_in_the_recipe(tmp_path: Path) -> None:
    data = read_training_data(tiny_recipe(), write_fake_cifar(tmp_path))
    assert [len(data.train), len(data.held_out), len(data.test)] == [TRAIN - 40, 40, TEST]
    assert data.encoding.image_shape == (3, 32, 32)


def test_images_stay_bytes_on_the_device() -> None:
    data = split_data(labelled(100), labelled(20), 15)
    there = OnDevice.of(data.train, torch.device("cpu"))
    assert len(there) == 85
    assert (there.images.dtype, there.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(there.images, torch.from_numpy(data.train.images))
