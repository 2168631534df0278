"""Image sets in each format, and one line for each that cannot be read."""

from __future__ import annotations

import io
import lzma
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets import read_images

IMAGES = np.random.default_rng(7).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
LABELS = np.array([3, 0, 9, 9, 1])
FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 4, "lp": 0, "pb": 0}]


def packed_plane(plane: np.ndarray, low: int) -> bytes:
    """Errors of the median predictor, one pixel at a time in plain integers."""
    n, height, width = plane.shape
    errors = bytearray()
    for i in range(n):
        p = plane[i].tolist()
        for y in range(height):
            for x in range(width):
                west = p[y][x - 1] if x else 0
                north = p[y - 1][x] if y else 0
                if y == 0:
                    guess = west
                elif x == 0:
                    guess = north
                else:
                    guess = sorted((west, north, west + north - p[y - 1][x - 1]))[1]
                error = (p[y][x] - guess + 128) % 256 - 128
                errors.append(2 * error if error >= 0 else -2 * error - 1)
    return lzma.compress(bytes(errors), lzma.FORMAT_RAW, filters=FILTERS)


def packed_arrays(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    red, green, blue = images.astype(int).transpose(1, 0, 2, 3)
    planes = [
        packed_plane(green, 0),
        packed_plane((red - green + 128) % 256 - 128, -128),
        packed_plane((blue - green + 128) % 256 - 128, -128),
    ]
    arrays = {f"plane{k}": np.frombuffer(data, np.uint8) for k, data in enumerate(planes)}
    return {"shape": np.array(images.shape), "labels": labels.astype(np.uint8), **arrays}


def assert_read(path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> None:
    read, read_labels = read_images(path)
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(read_labels, labels)
    assert read.dtype == np.uint8 and read_labels.dtype == np.int64


def test_packed_planes_are_unpacked_without_loss(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(7), np.arange(5)) * 20
    images = np.concatenate([IMAGES[:2, :, :7, :5], np.broadcast_to(smooth, (1, 3, 7, 5))])
    images = images.astype(np.uint8)
    np.savez(tmp_path / "a.npz", **packed_arrays(images, LABELS[:3]))
    assert_read(tmp_path / "a.npz", images, LABELS[:3])


def test_a_plain_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS.astype(np.uint8))
    assert_read(tmp_path / "a.npz")


def test_binary_cifar_batches_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin").write_bytes(binary_batch())
    assert_read(tmp_path / "test_batch.bin")
    assert_read(tmp_path)


def binary_batch() -> bytes:
    pairs = zip(LABELS, IMAGES, strict=True)
    return b"".join(bytes([label]) + image.tobytes() for label, image in pairs)


def python_batch(**changes: object) -> bytes:
    """A batch as Python 2 wrote it: byte strings as keys, protocol 2."""
    batch = {"data": IMAGES.reshape(5, -1), "labels": LABELS.tolist()} | changes
    return pickle.dumps({key.encode(): value for key, value in batch.items()}, protocol=2)


def test_python_cifar_batches_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(python_batch())
    assert_read(tmp_path / "test_batch")
    old = python_batch().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "test_batch").write_bytes(old)
    assert_read(tmp_path / "test_batch")


@pytest.mark.parametrize("name", ["test_batch", "test_batch.bin"])
def test_archives_are_searched_for_the_test_batch(name: str, tmp_path: Path) -> None:
    data = python_batch() if name == "test_batch" else binary_batch()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo(f"cifar/{name}")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    assert_read(tmp_path / "a.tar.gz")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code has run",)


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


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
    "damaged archive": tar("x", b"x" * 5000)[:60],
    "the archive holds no test_batch": tar("x", b"x"),
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
