"""MNIST and its like as idx files and as raw bytes behind xz."""

from __future__ import annotations

import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets import LabelledImages, read_dataset
from tests.network.datasets.encoders import idx

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (12, 28, 28)).astype(np.uint8)
LABELS = RNG.integers(0, 10, 12).astype(np.uint8)
FASHION_LABELS = np.array([9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5], np.uint8)
"""The beginning of Fashion-MNIST's test split."""


def write_idx(
    folder: Path, start: str = "t10k", labels: np.ndarray = LABELS, gz: str = "", dot: str = "-"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image_name, label_name = f"{start}-images{dot}idx3-ubyte{gz}", f"{start}-labels{dot}idx1-ubyte"
    (folder / image_name).write_bytes(idx(IMAGES[: len(labels)], compress=bool(gz)))
    (folder / label_name).write_bytes(idx(labels))


def write_raw(folder: Path, name: str) -> None:
    (folder / f"{name}.u8.xz").write_bytes(lzma.compress(IMAGES.tobytes()))
    np.save(folder / f"{name}_labels.npy", LABELS)


def assert_equal(read: LabelledImages, labels: np.ndarray = LABELS) -> None:
    np.testing.assert_array_equal(read.images, IMAGES[:, None])
    np.testing.assert_array_equal(read.labels, labels)
    assert read.images.dtype == np.uint8 and read.labels.dtype == np.int64
    assert read.images.flags.writeable


@pytest.mark.parametrize(("gz", "dot"), [("", "-"), (".gz", "-"), ("", "."), (".gz", ".")])
@pytest.mark.parametrize(("split", "start"), [("train", "train"), ("test", "t10k")])
def test_idx_files_are_read(gz: str, dot: str, split: str, start: str, tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw", start, gz=gz, dot=dot)
    assert_equal(read_dataset("mnist", tmp_path, split))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_raw_bytes_behind_xz_are_read(name: str, split: str, tmp_path: Path) -> None:
    write_raw(tmp_path, f"{name}_{split}")
    assert_equal(read_dataset(name, tmp_path, split))  # type: ignore[arg-type]


def test_the_digest_does_not_depend_on_the_form(tmp_path: Path) -> None:
    for folder in ("idx", "raw"):
        (tmp_path / folder).mkdir()
    write_idx(tmp_path / "idx", gz=".gz")
    write_raw(tmp_path / "raw", "mnist_test")
    first, second = (read_dataset("mnist", tmp_path / name, "test") for name in ("idx", "raw"))
    assert first.sha256 == second.sha256


def test_two_sets_with_the_same_file_names_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", labels=FASHION_LABELS)
    write_idx(tmp_path / "b", labels=LABELS)
    assert_equal(read_dataset("mnist", tmp_path, "test"), LABELS)
    fashion = read_dataset("fashion_mnist", tmp_path, "test")
    assert_equal(fashion, FASHION_LABELS)
    assert fashion.classes[9] == "Ankle boot"
    with pytest.raises(InputFileError, match="no test split of MNIST"):
        read_dataset("mnist", tmp_path / "a", "test")


@pytest.mark.parametrize("left_out", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_one_file_of_a_pair_is_refused(left_out: str, tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / left_out).unlink()
    with pytest.raises(InputFileError) as caught:
        read_dataset("mnist", tmp_path, "test")
    assert str(caught.value) == f"{tmp_path}: incomplete, missing {left_out}"


WHOLE = idx(IMAGES)
DAMAGED_IMAGES = {
    "9408 bytes of data expected for (12, 28, 28), found 9398 bytes": WHOLE[:-10],
    "expected for (12, 28, 28), found more": WHOLE + b"x",
    "not an idx file of bytes in 3 dimensions": idx(IMAGES, kind=9),
    "not an idx file of bytes in 3 dimensions ": idx(LABELS),
    "not an idx file of bytes in 3 dimensions  ": b"",
    "is absurdly large": WHOLE[:4] + b"\xff" * 12 + WHOLE[16:],
    "10 images, but 12 labels": idx(IMAGES[:10]),
}


@pytest.mark.parametrize(("reason", "data"), DAMAGED_IMAGES.items(), ids=list(DAMAGED_IMAGES))
def test_damaged_images_are_named_in_one_line(reason: str, data: bytes, tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(data)
    assert_one_line(tmp_path, "t10k-images-idx3-ubyte", reason.strip())


def assert_one_line(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(InputFileError) as caught:
        read_dataset("mnist", folder, "test")
    line = str(caught.value)
    assert line.startswith(f"{folder / name}: ") and reason in line and "\n" not in line


@pytest.mark.parametrize(
    "data",
    [gzip.compress(WHOLE)[:200], WHOLE, gzip.compress(WHOLE)[:-8] + bytes(8)],
    ids=["truncated", "not compressed", "wrong checksum"],
)
def test_a_damaged_gz_file_is_refused(data: bytes, tmp_path: Path) -> None:
    write_idx(tmp_path, gz=".gz")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(data)
    assert_one_line(tmp_path, "t10k-images-idx3-ubyte.gz", "damaged (")


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, labels=np.full(12, 10, np.uint8))
    assert_one_line(tmp_path, "t10k-labels-idx1-ubyte", "label 10 is outside 0..9")


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, labels=LABELS[:0])
    assert_one_line(tmp_path, "t10k-images-idx3-ubyte", "there are no images")


def test_damaged_xz_images_are_refused(tmp_path: Path) -> None:
    write_raw(tmp_path, "mnist_test")
    path = tmp_path / "mnist_test.u8.xz"
    path.write_bytes(path.read_bytes()[:200])
    assert_one_line(tmp_path, path.name, "bytes or more, expected 9408")
    path.write_bytes(b"hello, this is not xz")
    assert_one_line(tmp_path, path.name, "damaged (")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .npy file"),
        (npy(LABELS)[:-3], "not a .npy file"),
        (npy(np.array([{}])), "not a .npy file"),
        (npy(np.arange(12.0)), "integers (n,) expected, found (12,) of float64"),
        (npy(LABELS.reshape(3, 4)), "integers (n,) expected, found (3, 4) of uint8"),
    ],
)
def test_damaged_npy_labels_are_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    write_raw(tmp_path, "mnist_test")
    (tmp_path / "mnist_test_labels.npy").write_bytes(data)
    assert_one_line(tmp_path, "mnist_test_labels.npy", reason)
