"""Tiny ImageNet's folders."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imcsim.errors import InputFileError
from imcsim.network.datasets import read_dataset

WNIDS = ("n02", "n01")  # wnids.txt is not sorted


def jpeg(colour: tuple[int, int, int] | int, side: int = 64) -> bytes:
    """A picture of one colour, which JPEG keeps to a few grey levels."""
    buffer = io.BytesIO()
    mode = "L" if isinstance(colour, int) else "RGB"
    Image.new(mode, (side, side), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


COLOURS = {
    "train/n01/images/n01_0.JPEG": (200, 10, 20),
    "train/n01/images/n01_10.JPEG": (10, 200, 20),
    "train/n01/images/n01_9.JPEG": (10, 20, 200),
    "train/n02/images/n02_0.JPEG": 77,
    "val/images/val_0.JPEG": (90, 80, 70),
    "val/images/val_1.JPEG": (30, 60, 90),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "tiny-imagenet-200"
    for name, colour in COLOURS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(colour))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "val" / "val_annotations.txt").write_text(
        "val_1.JPEG\tn01\t0\t32\t44\t62\nval_0.JPEG\tn02\t0\t0\t63\t63\n"
    )
    return root


def assert_colours(images: np.ndarray, names: list[str]) -> None:
    assert images.shape == (len(names), 3, 64, 64) and images.dtype == np.uint8
    for image, name in zip(images, names, strict=True):
        colour = np.broadcast_to(COLOURS[name], 3)
        assert np.abs(image.astype(int) - colour[:, None, None]).max() <= 3


def test_training_images_come_by_number_with_classes_in_sorted_order(
    root: Path, tmp_path: Path
) -> None:
    train = read_dataset("tiny_imagenet", tmp_path, "train")
    order = ["n01/images/n01_0", "n02/images/n02_0", "n01/images/n01_9", "n01/images/n01_10"]
    assert_colours(train.images, [f"train/{name}.JPEG" for name in order])
    assert train.labels.tolist() == [0, 1, 0, 0]
    assert train.classes == ("n01", "n02")


def test_the_validation_split_serves_as_test(root: Path) -> None:
    test = read_dataset("tiny_imagenet", root, "test")
    assert_colours(test.images, ["val/images/val_1.JPEG", "val/images/val_0.JPEG"])
    assert test.labels.tolist() == [0, 1]


def test_names_come_from_words_txt(root: Path) -> None:
    (root / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\n")
    classes = read_dataset("tiny_imagenet", root, "test").classes
    assert classes == ("goldfish, Carassius auratus", "n02")


def assert_refused(root: Path, split: str, reason: str) -> None:
    with pytest.raises(InputFileError) as caught:
        read_dataset("tiny_imagenet", root, split)  # type: ignore[arg-type]
    line = str(caught.value)
    assert line.startswith(f"{root}/") and reason in line and "\n" not in line


def test_a_class_without_images_is_named(root: Path) -> None:
    (root / "train/n02/images/n02_0.JPEG").unlink()
    assert_refused(root, "train", "train: incomplete, missing n02/images")


def test_a_missing_validation_image_is_named(root: Path) -> None:
    (root / "val/images/val_1.JPEG").unlink()
    assert_refused(root, "test", "val/images: incomplete, missing val_1.JPEG")


def test_missing_annotations_are_named(root: Path) -> None:
    (root / "val/val_annotations.txt").unlink()
    assert_refused(root, "test", "val_annotations.txt: cannot be read (No such file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("val_0.JPEG\tn01\nval_1.JPEG\tn03\n", "val_annotations.txt:2: a file and a class"),
        ("val_0.JPEG", "val_annotations.txt:1: a file and a class"),
        ("", "val_annotations.txt: there are no images"),
    ],
)
def test_damaged_annotations_are_refused(text: str, reason: str, root: Path) -> None:
    (root / "val/val_annotations.txt").write_text(text)
    assert_refused(root, "test", reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture, or a damaged one"),
        (jpeg(9)[:100], "not a picture, or a damaged one"),
        (jpeg(9)[:-200], "not a picture, or a damaged one"),
        (jpeg(9, side=32), "32 × 32 pixels, 64 × 64 expected"),
    ],
    ids=["empty", "header only", "cut", "small"],
)
def test_a_damaged_picture_is_named(data: bytes, reason: str, root: Path) -> None:
    (root / "train/n02/images/n02_0.JPEG").write_bytes(data)
    assert_refused(root, "train", f"n02_0.JPEG: {reason}")
