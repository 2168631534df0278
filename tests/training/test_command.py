"""``imcsim train`` where torch is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imcsim.network.workload import read_workload
from imcsim.training.load_recipe import dump_recipe
from tests.cli.calls import Called, imcsim
from tests.training.fake_cifar import INT8_STAGE, STAGE, tiny_recipe, write_fake_cifar

RECIPE = tiny_recipe(stages=[STAGE | {"epochs": 1}, INT8_STAGE])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set, and beside it the recipe."""
    folder = write_fake_cifar(tmp_path_factory.mktemp("data"))
    (folder / "tiny.yaml").write_text(dump_recipe(RECIPE), encoding="utf-8")
    return folder


def called(folder: Path, out: Path, *options: str | Path) -> Called:
    said = ("--data", folder, "--out", out, "--device", "cpu", *options)
    return imcsim("train", folder / "tiny.yaml", *said)


@pytest.fixture(scope="module")
def first(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    out = tmp_path_factory.mktemp("out") / "tiny.npz"
    return out, called(folder, out)


def test_a_recipe_and_data_become_a_workload(first: tuple[Path, Called]) -> None:
    out, found = first
    assert found.code == 0, found.err
    assert read_workload(out).provenance["made_by"] == "imcsim train tiny.yaml"
    assert len(list(out.parent.iterdir())) == 4


def test_the_accuracies_are_data_and_the_epochs_words(first: tuple[Path, Called]) -> None:
    found = first[1]
    assert found.out.startswith("accuracy [%] after t =")
    assert "int8 test_50" in found.out and "oracle" in found.out
    said = [line for line in found.err.splitlines() if "loss" in line]
    assert [line.split(":")[0] for line in said] == ["stage 1/2 epoch 1", "stage 2/2 epoch 1"]
    assert all("held out " in line and "% at t = 1..2" in line for line in said)


def test_a_training_that_was_stopped_goes_on(
    first: tuple[Path, Called], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.npz"
    stopped = called(folder, out, "--stop-after", "1e-9")
    assert (stopped.code, stopped.out, out.exists()) == (0, "", False)
    assert stopped.err.splitlines()[-1].startswith("stopped; go on with --resume (")
    resumed = called(folder, out, "--resume")
    assert (resumed.code, resumed.out) == (0, first[1].out)
    assert out.read_bytes() == first[0].read_bytes()


def test_options_change_the_recipe(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    options = ("--set", "network.width=0.5", "--set", "stages.1.epochs=2")
    found = called(folder, out, *options)
    assert found.code == 0, found.err
    assert read_workload(out).network.layers[0].output_shape[0] == 4
    assert "stage 2/2 epoch 2: " in found.err


def last_line(found: Called, code: int) -> str:
    """The one line that says what was wrong, behind those of the progress."""
    assert (found.code, found.out) == (code, "")
    assert "Traceback" not in found.err
    errors = [line for line in found.err.splitlines() if line.startswith("imcsim: error: ")]
    assert errors == found.err.splitlines()[-1:], found.err
    return errors[0]


def test_mistakes_are_one_line_with_the_exit_code_of_their_kind(
    first: tuple[Path, Called], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    new, other = tmp_path / "a.npz", tmp_path / "b.pt"
    other.write_bytes(b"noise")
    imcsim_train = ("train", folder / "tiny.yaml", "--out", new, "--data")
    assert "no train split of CIFAR-10" in last_line(imcsim(*imcsim_train, tmp_path), 3)
    assert "no such folder" in last_line(imcsim(*imcsim_train, tmp_path / "none"), 3)
    for found, code, words in (
        (called(folder, first[0]), 2, "go on with --resume"),
        (called(folder, new, "--resume"), 3, "there is no such checkpoint"),
        (called(folder, new, "--start-from", other), 3, "not a checkpoint, or a damaged one"),
        (called(folder, new, "--resume", "--start-from", other), 2, "exclude each other"),
        (called(folder, new, "--baseline", other), 3, "b.pt: "),
        (called(folder, new, "--device", "cuda"), 2, "torch finds no GPU"),
        (called(folder, new, "--set", "data.held_out=7"), 2, "is no multiple of the 10 classes"),
        (called(folder, tmp_path / "none" / "a.npz"), 1, "its folder does not exist"),
        (called(folder, tmp_path / "a.pt"), 2, "ends in .npz"),
    ):
        assert words in last_line(found, code)
    assert not new.exists()


def test_a_loss_that_is_no_number_ends_in_one_line(folder: Path, tmp_path: Path) -> None:
    wild = ("learning_rate=10", "weight_decay=1", "batch=1")
    options = [word for each in wild for word in ("--set", f"stages.0.{each}")]
    line = last_line(called(folder, tmp_path / "a.npz", *options), 1)
    assert "the loss is" in line and "try a lower learning_rate" in line


@pytest.mark.slow  # half of torch is imported to look for a compiler
def test_a_compiler_that_is_not_there_is_asked_for(folder: Path, tmp_path: Path) -> None:
    said = ("--data", folder, "--out", tmp_path / "a.npz", "--device", "cpu")
    options = (*said, "--set", "fused_neurons=true")
    process = subprocess.run(
        [sys.executable, "-m", "imcsim", "train", folder / "tiny.yaml", *options],
        env=os.environ | {"PATH": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    line = last_line(Called(process.returncode, process.stdout, process.stderr), 1)
    assert line.startswith("imcsim: error: fused_neurons: torch.compile finds no C++ compiler")
