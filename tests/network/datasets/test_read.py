"""Data sets by name: what can be asked for, and what is said when nothing is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from imcsim.errors import InputFileError, UsageError
from imcsim.network.datasets import DATASETS, read_dataset
from imcsim.network.datasets.sources import SOURCES

EVENT_SETS = ["nmnist", "cifar10dvs", "dvs128gesture"]


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_set_says_what_to_download_and_where_to_put_it(
    name: str, split: str, tmp_path: Path
) -> None:
    with pytest.raises(InputFileError) as caught:
        read_dataset(name, tmp_path, split, 4)  # type: ignore[arg-type]
    line = str(caught.value)
    source = next(each for each in SOURCES if each.name == name)
    assert line.startswith(f"{tmp_path}: no {split} split of {source.title} here or 2 levels below")
    assert source.looks_for in line and source.url in line and "\n" not in line


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none \(no such folder\): no test split of MNIST"):
        read_dataset("mnist", tmp_path / "none", "test")


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'imagenet' \(known: cifar10, cifar100"):
        read_dataset("imagenet", tmp_path, "train")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown split 'val' \(train or test\)"):
        read_dataset("mnist", tmp_path, "val")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EVENT_SETS)
@pytest.mark.parametrize("timesteps", [None, 0, -1])
def test_event_recordings_need_timesteps(name: str, timesteps: int | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name}: event recordings need a number of timesteps"):
        read_dataset(name, tmp_path, "train", timesteps)
