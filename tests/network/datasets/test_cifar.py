"""CIFAR-10 and CIFAR-100 in each form, whole and in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets import LabelledImages, read_dataset
from tests.network.datasets.encoders import (
    binary_batch,
    packed_batch,
    python_batch,
    tar,
)

RNG = np.random.default_rng(3)
IMAGES = np.concatenate(
    [RNG.integers(0, 256, (5, 3, 32, 32)), np.full((1, 3, 32, 32), 200)]
).astype(np.uint8)
NAMES = tuple(f"class{k}" for k in range(10))
Files = dict[str, bytes]


def pickled(images: np.ndarray, labels: np.ndarray, key: str = "labels") -> bytes:
    values: dict[str, object] = {
        "data": images.reshape(len(images), -1),
        "filenames": [b"a.png"] * len(images),
    }
    if key != "labels":
        values["coarse_labels"] = [0] * len(labels)
    return python_batch(**values | {"labels": None} | {key: labels.tolist()})


def cifar10(form: str) -> tuple[Files, Files]:
    """Six training images in batches of 1, 1, 1, 1, 2, one test image; and the class names."""
    labels = np.arange(6)
    cuts = [slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 4), slice(4, 6)]
    if form == "python":
        batches = {f"data_batch_{k}": pickled(IMAGES[c], labels[c]) for k, c in enumerate(cuts, 1)}
        batches["test_batch"] = pickled(IMAGES[5:], np.array([9]))
        names = python_batch(label_names=[name.encode() for name in NAMES])
        return batches, {"batches.meta": names}
    if form == "binary":
        batches = {
            f"data_batch_{k}.bin": binary_batch(IMAGES[c], labels[c]) for k, c in enumerate(cuts, 1)
        }
        batches["test_batch.bin"] = binary_batch(IMAGES[5:], np.array([9]))
        return batches, {"batches.meta.txt": "\n".join(NAMES).encode() + b"\n\n"}
    batches = {
        f"cifar10_train_{k}.npz": packed_batch(IMAGES[c], labels[c], NAMES)
        for k, c in enumerate(cuts, 1)
    }
    return batches | {"cifar10_test.npz": packed_batch(IMAGES[5:], np.array([9]), NAMES)}, {}


def cifar100(form: str) -> tuple[Files, Files]:
    labels = np.array([99, 0, 20, 5, 7])
    if form == "python":
        names = python_batch(fine_label_names=[b"apple", b"bear"], coarse_label_names=[b"fruit"])
        files = {"train": pickled(IMAGES[:5], labels, "fine_labels")}
        return files | {"test": pickled(IMAGES[5:], np.array([42]), "fine_labels")}, {"meta": names}
    if form == "binary":
        files = {"train.bin": binary_batch(IMAGES[:5], labels, coarse=[19, 1, 2, 3, 4])}
        files["test.bin"] = binary_batch(IMAGES[5:], np.array([42]), coarse=[7])
        return files, {"fine_label_names.txt": b"apple\nbear\n"}
    files = {
        f"cifar100_train_{k + 1}.npz": packed_batch(IMAGES[k : k + 1], labels[k : k + 1])
        for k in range(5)
    }
    return files | {"cifar100_test.npz": packed_batch(IMAGES[5:], np.array([42]))}, {}


def write(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def assert_equal(read: LabelledImages, images: np.ndarray, labels: list[int]) -> None:
    np.testing.assert_array_equal(read.images, images)
    assert read.labels.tolist() == labels
    assert read.images.dtype == np.uint8 and read.labels.dtype == np.int64
    assert read.images.flags.writeable and read.images.flags.c_contiguous


@pytest.mark.parametrize("form", ["python", "binary", "packed"])
def test_cifar10_is_read_in_each_form(form: str, tmp_path: Path) -> None:
    batches, names = cifar10(form)
    write(tmp_path / "data" / "cifar-10", batches | names)
    train = read_dataset("cifar10", tmp_path, "train")
    assert_equal(train, IMAGES, [0, 1, 2, 3, 4, 5])
    assert_equal(read_dataset("cifar10", tmp_path, "test"), IMAGES[5:], [9])
    assert train.classes == NAMES


@pytest.mark.parametrize("form", ["python", "binary", "packed"])
def test_cifar100_is_read_with_fine_labels_in_each_form(form: str, tmp_path: Path) -> None:
    files, names = cifar100(form)
    write(tmp_path, files | names)
    train = read_dataset("cifar100", tmp_path, "train")
    assert_equal(train, IMAGES[:5], [99, 0, 20, 5, 7])
    assert_equal(read_dataset("cifar100", tmp_path, "test"), IMAGES[5:], [42])
    assert train.classes == (("apple", "bear") if names else ())


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archives_are_read_unopened(name: str, form: str, tmp_path: Path) -> None:
    files, names = cifar10(form) if name == "cifar10" else cifar100(form)
    write(tmp_path / "plain", files | names)
    members = {f"inside/{key}": data for key, data in (files | names | {"readme": b""}).items()}
    stem = name.replace("cifar", "cifar-")
    write(tmp_path / "packed", {f"{stem}-{form}.tar.gz": tar(members)})
    for split in ("train", "test"):
        plain = read_dataset(name, tmp_path / "plain", split)
        unopened = read_dataset(name, tmp_path / "packed", split)
        assert unopened.sha256 == plain.sha256
        assert unopened.classes == plain.classes != ()


def test_the_digest_does_not_depend_on_the_form(tmp_path: Path) -> None:
    digests = set()
    for form in ("python", "binary", "packed"):
        write(tmp_path / form, cifar10(form)[0])
        digests.add(read_dataset("cifar10", tmp_path / form, "train").sha256)
    assert len(digests) == 1


@pytest.mark.parametrize("form", ["python", "binary", "packed"])
def test_a_partial_set_is_refused_by_naming_what_is_missing(form: str, tmp_path: Path) -> None:
    batches, _ = cifar10(form)
    left_out = sorted(batches)[1:3] if form != "packed" else sorted(batches)[2:4]
    write(tmp_path, {name: data for name, data in batches.items() if name not in left_out})
    with pytest.raises(InputFileError) as caught:
        read_dataset("cifar10", tmp_path, "train")
    assert str(caught.value) == f"{tmp_path}: incomplete, missing {', '.join(left_out)}"


def test_a_partial_archive_is_refused(tmp_path: Path) -> None:
    batches, _ = cifar10("python")
    del batches["data_batch_5"]
    write(tmp_path, {"cifar-10-python.tar.gz": tar(batches)})
    with pytest.raises(InputFileError, match=r"gz: incomplete, missing data_batch_5$"):
        read_dataset("cifar10", tmp_path, "train")


def test_a_complete_form_is_preferred_to_a_partial_one(tmp_path: Path) -> None:
    batches, _ = cifar10("binary")
    write(tmp_path, batches | {"data_batch_1": b"not even looked at"})
    assert_equal(read_dataset("cifar10", tmp_path, "train"), IMAGES, [0, 1, 2, 3, 4, 5])


SMALL = packed_batch(IMAGES[:1, :, :4, :4], np.array([1]))
FAULTS = {
    "damaged archive (CRC check failed": {
        "cifar-10-python.tar.gz": tar({"test_batch": python_batch()})[:-8] + bytes(8)
    },
    "damaged archive": {"cifar-10-python.tar.gz": tar({"a": bytes(IMAGES)})[:3000]},
    "test_batch: not a CIFAR-10 batch": {"test_batch": b"\x80\x02"},
    "test_batch: 5 images, but 4 labels": {"test_batch": python_batch(labels=[1, 2, 3, 4])},
    "test_batch: label -1 is outside 0..9": {"test_batch": python_batch(labels=[1, 2, 3, 4, -1])},
    "test_batch.bin: label 11 is outside 0..9": {
        "test_batch.bin": binary_batch(IMAGES[:2], np.array([0, 11]))
    },
    "test_batch.bin: 3072 bytes, a multiple of 3073 expected": {
        "test_batch.bin": binary_batch()[:3072]
    },
    "cifar10_test.npz: shape: (n, 3, 32, 32) expected, found (1, 3, 4, 4)": {
        "cifar10_test.npz": SMALL
    },
    "cifar10_test.npz: not a .npz file": {"cifar10_test.npz": SMALL[:-50]},
    "batches.meta: no CIFAR-10 class names (": {
        "test_batch": python_batch(),
        "batches.meta": python_batch(),
    },
}


@pytest.mark.parametrize(("reason", "files"), FAULTS.items(), ids=list(FAULTS))
def test_a_damaged_file_is_named_in_one_line(reason: str, files: Files, tmp_path: Path) -> None:
    write(tmp_path, files)
    with pytest.raises(InputFileError) as caught:
        read_dataset("cifar10", tmp_path, "test")
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/") and reason in line and "\n" not in line
    assert line.count(str(tmp_path)) == 1


def test_a_pickle_of_cifar100_is_called_so(tmp_path: Path) -> None:
    write(tmp_path, {"test": python_batch()})
    with pytest.raises(InputFileError, match="test: not a CIFAR-100 batch"):
        read_dataset("cifar100", tmp_path, "test")


def test_an_archive_that_is_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").mkdir()
    with pytest.raises(InputFileError, match="no test split of CIFAR-10 here"):
        read_dataset("cifar10", tmp_path, "test")
