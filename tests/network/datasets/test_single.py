"""One file of test images in each format, and one line for each that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets import read_images
from tests.network.datasets.encoders import (
    IMAGES,
    LABELS,
    binary_batch,
    npz,
    packed_arrays,
    python_batch,
    tar,
)


def assert_read(path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> None:
    read, read_labels = read_images(path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(read_labels, labels)
    assert read.dtype == np.uint8 and read_labels.dtype == np.int64


def test_a_plain_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS.astype(np.uint8))
    assert_read(tmp_path / "a.npz")


def test_binary_cifar_batches_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(binary_batch())
    assert_read(tmp_path / "test_batch.bin")
    assert_read(tmp_path)


def test_python_cifar_batches_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(python_batch())
    assert_read(tmp_path / "test_batch")
    old = python_batch().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "test_batch").write_bytes(old)
    assert_read(tmp_path / "test_batch")


@pytest.mark.parametrize("name", ["test_batch", "test_batch.bin"])
def test_archives_are_searched_for_the_test_batch(name: str, tmp_path: Path) -> None:
    data = python_batch() if name == "test_batch" else binary_batch()
    (tmp_path / "a.tar.gz").write_bytes(tar({f"cifar/{name}": data}))
    assert_read(tmp_path / "a.tar.gz")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code has run",)


PACKED = packed_arrays(IMAGES[:1, :, :4, :4], LABELS[:1])
FAULTS = {
    "no known format": b"hello",
    "no known format (": b"",
    "labels: missing": npz(images=IMAGES),
    "images: missing": npz(labels=LABELS),
    "5 images, but 4 labels": npz(images=IMAGES, labels=LABELS[:4]),
    "there are no images": npz(images=IMAGES[:0], labels=LABELS[:0]),
    "images: uint8 (n, c, h, w) or (n, t, c, h, w) expected": npz(images=IMAGES / 2, labels=LABELS),
    "labels: integers (n,) expected": npz(images=IMAGES, labels=LABELS / 2),
    "not a .npz file": b"PK\x03\x04 and nothing more",
    "plane2: missing": npz(**{k: v for k, v in PACKED.items() if k != "plane2"}),
    "shape: (n, 3, h, w) expected": npz(**(PACKED | {"shape": np.array([1, 4, 4, 4])})),
    "plane1: damaged": npz(**(PACKED | {"plane1": np.full(40, 255, np.uint8)})),
    "bytes or more, expected": npz(**(PACKED | {"shape": np.array([1, 3, 4, 3])})),
    "print is not allowed in a CIFAR-10 batch": python_batch(data=Harmful()),
    "not a CIFAR-10 batch (": python_batch(data=3),
    "not a CIFAR-10 batch (data of float64)": python_batch(data=IMAGES / 2),
    "damaged archive": tar({"x": b"x" * 5000})[:60],
    "damaged archive (file could not be opened": tar({"x": b"x"})[:10] + b"\xff" * 90,
    "the archive holds no test_batch": tar({"x": b"x"}),
}


@pytest.mark.parametrize(("reason", "data"), FAULTS.items(), ids=list(FAULTS))
def test_what_cannot_be_read_is_refused_in_one_line(
    reason: str, data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(InputFileError) as caught:
        read_images(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and reason in line and "\n" not in line
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none: cannot be read \(No such file"):
        read_images(tmp_path / "none")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="the folder holds no images"):
        read_images(tmp_path)
