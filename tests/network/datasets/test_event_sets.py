"""Data sets of event recordings: which files, in which order, with which labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets import read_dataset
from imcsim.network.datasets.event_sets import CIFAR10_CLASSES
from tests.network.datasets.encoders import aedat2, aedat3, frames_of, nmnist, some_events


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def assert_refused(name: str, folder: Path, split: str, reason: str) -> None:
    with pytest.raises(InputFileError) as caught:
        read_dataset(name, folder, split, 2)  # type: ignore[arg-type]
    line = str(caught.value)
    assert reason in line and "\n" not in line and line.count(str(folder)) == 1


@pytest.fixture
def nmnist_folder(tmp_path: Path) -> Path:
    """Two recordings of 0, one of each other digit; the numbers run against the digits."""
    for split, offset in (("Train", 0), ("Test", 100)):
        for k in range(11):
            digit = max(0, 9 - k)
            events = nmnist(some_events(offset + k, 34))
            write(tmp_path / "N-MNIST" / split / str(digit) / f"{k + 1:05}.bin", events)
    return tmp_path


@pytest.mark.parametrize(("split", "offset"), [("train", 0), ("test", 100)])
def test_nmnist_is_read_in_the_order_of_mnist(split: str, offset: int, nmnist_folder: Path) -> None:
    read = read_dataset("nmnist", nmnist_folder, split, timesteps=3)  # type: ignore[arg-type]
    expected = [frames_of(some_events(offset + k, 34), 3, 34, 34) for k in range(11)]
    np.testing.assert_array_equal(read.images, expected)
    assert read.labels.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert read.images.dtype == np.uint8 and read.labels.dtype == np.int64
    assert read.classes[7] == "7"


def test_missing_digits_are_named(nmnist_folder: Path) -> None:
    (nmnist_folder / "N-MNIST/Test/9/00001.bin").unlink()
    assert_refused("nmnist", nmnist_folder, "test", "N-MNIST/Test: incomplete, missing 9")


def test_a_truncated_nmnist_recording_is_named(nmnist_folder: Path) -> None:
    write(nmnist_folder / "N-MNIST/Test/9/00001.bin", b"1234567")
    assert_refused("nmnist", nmnist_folder, "test", "9/00001.bin: 7 bytes, a multiple of 5")


def test_more_frames_than_memory_are_refused(nmnist_folder: Path) -> None:
    with pytest.raises(InputFileError, match=r"11 recordings of .* timesteps need .* GB of memory"):
        read_dataset("nmnist", nmnist_folder, "test", 10**14)


@pytest.fixture
def cifar10dvs_folder(tmp_path: Path) -> Path:
    """Eleven recordings of each class."""
    for label, name in enumerate(CIFAR10_CLASSES):
        for k in range(11):
            path = tmp_path / "CIFAR10DVS" / name / f"cifar10_{name}_{k}.aedat"
            write(path, aedat2(some_events(20 * k + label, 128)))
    return tmp_path


def test_cifar10dvs_is_split_nine_to_one_by_file_number(cifar10dvs_folder: Path) -> None:
    parts = {
        "train": [(k, label) for k in range(9) for label in range(10)],
        "test": [(k, label) for k in (9, 10) for label in range(10)],
    }
    for split, samples in parts.items():
        read = read_dataset("cifar10dvs", cifar10dvs_folder, split, 2)  # type: ignore[arg-type]
        assert read.labels.tolist() == [label for _, label in samples]
        expected = [frames_of(some_events(20 * k + n, 128), 2, 128, 128) for k, n in samples]
        np.testing.assert_array_equal(read.images, expected)
        assert read.classes == CIFAR10_CLASSES


def test_missing_recordings_of_cifar10dvs_are_named(cifar10dvs_folder: Path) -> None:
    (cifar10dvs_folder / "CIFAR10DVS/cat/cifar10_cat_5.aedat").unlink()
    assert_refused("cifar10dvs", cifar10dvs_folder, "train", "missing cifar10_cat_5.aedat")


def test_missing_classes_of_cifar10dvs_are_named(cifar10dvs_folder: Path) -> None:
    (cifar10dvs_folder / "CIFAR10DVS/dog").rename(cifar10dvs_folder / "away")
    assert_refused("cifar10dvs", cifar10dvs_folder, "train", "CIFAR10DVS: incomplete, missing dog")


def test_a_damaged_recording_of_cifar10dvs_is_named(cifar10dvs_folder: Path) -> None:
    write(cifar10dvs_folder / "CIFAR10DVS/dog/cifar10_dog_10.aedat", b"#!AER-DAT4.0\r\n")
    reason = "cifar10_dog_10.aedat: AEDAT 4.0, 2.0 expected"
    assert_refused("cifar10dvs", cifar10dvs_folder, "test", reason)


FIRST, SECOND = some_events(1, 128, start=10_000), some_events(2, 128, start=20_000)
NOISE = [(9_999, 1, 1, 1)], [(16_000, 2, 2, 0)], [(30_000, 3, 3, 1)]
HEADER = "class,startTime_usec,endTime_usec\n"


@pytest.fixture
def gesture_folder(tmp_path: Path) -> Path:
    place = tmp_path / "DvsGesture"
    write(place / "trials_to_train.txt", b"user02_led.aedat\nuser01_lab.aedat\n\n")
    write(place / "trials_to_test.txt", b"user24_led.aedat\r\n")
    recording = aedat3(NOISE[0], FIRST, NOISE[1], SECOND, NOISE[2])
    rows = {
        "user01_lab": "11,10000,15000\n2,20000,25000\n",
        "user02_led": "1,20000,25000\n",
        "user24_led": "8,10000,15000\n8,20000,25000\n",
    }
    for name, text in rows.items():
        write(place / f"{name}.aedat", recording)
        write(place / f"{name}_labels.csv", (HEADER + text).encode())
    return tmp_path


def test_gestures_are_cut_out_of_the_trials_of_the_split(gesture_folder: Path) -> None:
    first, second = (frames_of(events, 4, 128, 128) for events in (FIRST, SECOND))
    train = read_dataset("dvs128gesture", gesture_folder, "train", 4)
    np.testing.assert_array_equal(train.images, [second, first, second])
    assert train.labels.tolist() == [0, 10, 1]
    assert train.classes[0] == "hand clapping" and len(train.classes) == 11
    test = read_dataset("dvs128gesture", gesture_folder, "test", 4)
    np.testing.assert_array_equal(test.images, [first, second])
    assert test.labels.tolist() == [7, 7]


@pytest.mark.parametrize("name", ["user01_lab.aedat", "user02_led_labels.csv"])
def test_a_missing_file_of_a_trial_is_named(name: str, gesture_folder: Path) -> None:
    (gesture_folder / "DvsGesture" / name).unlink()
    reason = f"DvsGesture: incomplete, missing {name}"
    assert_refused("dvs128gesture", gesture_folder, "train", reason)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("8,10000", "_labels.csv:2: three whole numbers expected"),
        ("8,10000,end", "_labels.csv:2: three whole numbers expected"),
        ("12,10000,15000", "_labels.csv:2: class 12 is outside 1..11"),
        ("0,10000,15000", "_labels.csv:2: class 0 is outside 1..11"),
        ("1,10000,10000", "_labels.csv:2: the gesture ends before it starts"),
        ("1,1,2", "user24_led.aedat: from 1 to 2 µs: there are no events"),
    ],
)
def test_damaged_labels_are_refused_by_line(row: str, reason: str, gesture_folder: Path) -> None:
    path = gesture_folder / "DvsGesture/user24_led_labels.csv"
    write(path, f"{HEADER}{row}\n".encode())
    assert_refused("dvs128gesture", gesture_folder, "test", reason)


def test_a_truncated_trial_is_named(gesture_folder: Path) -> None:
    path = gesture_folder / "DvsGesture/user24_led.aedat"
    write(path, path.read_bytes()[:-4])
    assert_refused("dvs128gesture", gesture_folder, "test", "user24_led.aedat: truncated")
