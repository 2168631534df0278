"""Checkpoints: whole or not at all, and refused in one line if they are no use."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from imcsim.errors import ImcsimError, InputFileError
from imcsim.training import checkpoint
from imcsim.training.checkpoint import FORMAT, TrainingState

CPU = torch.device("cpu")


def state(**changes: Any) -> TrainingState:
    said: dict[str, Any] = {
        "recipe": "r", "data": {"train": "a", "test": "b"}, "stage": 1, "epoch": 2,
        "model": {"w": torch.arange(6.0).view(2, 3)}, "log": [{"loss": 0.5, "stage": 1}],
    } | changes  # fmt: skip
    return TrainingState(**said)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, state())
    found = checkpoint.load(path, CPU)
    assert torch.equal(found.model.pop("w"), torch.arange(6.0).view(2, 3))
    assert found == state(model={})
    assert list(tmp_path.iterdir()) == [path]


FILL_THE_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from imcsim.errors import ImcsimError
from imcsim.training import checkpoint

path = Path(sys.argv[1])
checkpoint.save(path, checkpoint.TrainingState("r", {}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    checkpoint.save(path, checkpoint.TrainingState("r", {}, model={"w": torch.ones(100_000)}))
except ImcsimError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file sizes can be limited on POSIX only")
def test_a_write_that_fails_leaves_the_older_checkpoint_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    process = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, path], capture_output=True, text=True, check=True
    )
    assert process.stdout == f"{path}: cannot be written (File too large)\n"
    assert checkpoint.load(path, CPU).model == {}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=r"b\.pt: cannot be written \(No such file or directory"):
        checkpoint.save(tmp_path / "a" / "b.pt", state())


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"a\.pt: there is no such checkpoint"):
        checkpoint.load(tmp_path / "a.pt", CPU)


def truncated(path: Path) -> None:
    checkpoint.save(path, state())
    path.write_bytes(path.read_bytes()[:-100])


DAMAGED: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "text": lambda path: path.write_text("format: imcsim-recipe/1\n"),
    "truncated": truncated,
    "a folder": lambda path: path.mkdir(),
    "code": lambda path: torch.save({"format": FORMAT, "recipe": CPU, "f": truncated}, path),
}


@pytest.mark.parametrize("make", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_checkpoint_is_refused_in_one_line(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    make(path)
    with pytest.raises(InputFileError) as caught:
        checkpoint.load(path, CPU)
    assert str(caught.value).startswith(f"{path}: not a checkpoint, or a damaged one (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [{"w": torch.ones(1)}, [1, 2], {"format": "imcsim-checkpoint/9"}])
def test_something_else_that_torch_wrote_is_no_checkpoint(said: Any, tmp_path: Path) -> None:
    torch.save(said, tmp_path / "a.pt")
    with pytest.raises(InputFileError, match=f"not a checkpoint of format {FORMAT}"):
        checkpoint.load(tmp_path / "a.pt", CPU)


@pytest.mark.parametrize(
    "fields", [{"recipe": "r"}, {"recipe": "r", "data": {}, "weather": "fine"}]
)
def test_missing_and_unknown_fields_are_damage(fields: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"format": FORMAT, **fields}, tmp_path / "a.pt")
    with pytest.raises(InputFileError, match="a damaged checkpoint"):
        checkpoint.load(tmp_path / "a.pt", CPU)


def test_a_checkpoint_of_another_training_is_refused() -> None:
    path, mine = Path("a.pt"), state()
    checkpoint.check_same(path, mine, "r", {"train": "a", "test": "b"})
    with pytest.raises(InputFileError, match=r"^a\.pt: the checkpoint belongs to another recipe$"):
        checkpoint.check_same(path, mine, "s", {"train": "a", "test": "b"})
    with pytest.raises(
        InputFileError, match=r"^a\.pt: the checkpoint belongs to another data set$"
    ):
        checkpoint.check_same(path, mine, "r", {"train": "a", "test": "c"})


def test_a_file_is_hashed_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert checkpoint.file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
