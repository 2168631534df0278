"""From a recipe and a folder to a workload: seconds on a CPU, on images that the test makes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imcsim.errors import ImcsimError, InputFileError, UsageError
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload, read_workload
from imcsim.training import checkpoint
from imcsim.training.recipe import Recipe
from imcsim.training.run import Files, device_named, train, write_log
from tests.training.fake_cifar import (
    INT8_STAGE,
    STAGE,
    TEST,
    TINY,
    tiny_recipe,
    write_fake_cifar,
)

FULL = tiny_recipe(stages=[STAGE | {"epochs": 6}, INT8_STAGE])
SHORT = tiny_recipe(stages=[STAGE | {"epochs": 2}, INT8_STAGE | {"weight_noise": 0.1}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_cifar(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Workload]:
    """`FULL`, and what it left behind."""
    files = Files(tmp_path_factory.mktemp("trained") / "tiny.npz")
    workload = train(FULL, folder, files.workload, device="cpu", provenance={"made_by": "a test"})
    assert workload is not None
    return files, workload


def rows(files: Files) -> list[dict[str, str]]:
    with files.log.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_loss_falls_and_the_network_learns(trained: tuple[Files, Workload]) -> None:
    log = rows(trained[0])
    assert float(log[5]["loss"]) < 0.75 * float(log[0]["loss"])
    # Ten classes: chance is 0.1.
    assert float(log[-1]["held_out_accuracy_t2"]) > 0.5


def test_the_log_has_one_row_per_epoch(trained: tuple[Files, Workload]) -> None:
    log = rows(trained[0])
    assert [(row["stage"], row["epoch"]) for row in log] == [
        *(("1", str(k)) for k in range(1, 7)), ("2", "1")
    ]  # fmt: skip


def test_checkpoint_log_and_curves_stand_beside_the_workload(
    trained: tuple[Files, Workload],
) -> None:
    files, _ = trained
    assert sorted(path.name for path in files.workload.parent.iterdir()) == [
        "tiny.checkpoint.pt", "tiny.curves.png", "tiny.log.csv", "tiny.npz"
    ]  # fmt: skip
    assert files.curves.read_bytes().startswith(b"\x89PNG")


def test_the_file_holds_the_trained_network_and_its_golden_scores(
    trained: tuple[Files, Workload],
) -> None:
    files, workload = trained
    found = read_workload(files.workload)
    logits = run_reference(found.network, found.images).logits
    np.testing.assert_array_equal(logits[: len(found.golden_logits)], found.golden_logits)
    right = (logits.sum(axis=1).argmax(axis=1) == found.labels).sum()
    assert right == found.accuracies["shipped_correct"][-1]
    assert right / TEST > 0.5
    assert found.accuracies == workload.accuracies
    assert len(found.images) == TEST


def test_the_file_says_where_it_comes_from(trained: tuple[Files, Workload]) -> None:
    said = read_workload(trained[0].workload).provenance
    assert said["made_by"] == "a test"
    assert said["recipe"]["stages"][0]["epochs"] == 6
    assert said["recipe"]["data"] == {"name": "cifar10", "held_out": 40}
    assert set(said["data_sha256"]) == {"train", "test"}
    assert (said["device"], said["torch"]) == ("cpu", torch.__version__)
    assert said["best_epoch"] == 1


def in_parts(recipe: Recipe, folder: Path, files: Files) -> int:
    """Stop after every epoch and go on; the number of calls."""
    said: dict[str, Any] = {"device": "cpu", "stop_after_s": 1e-9}
    calls = 1
    workload = train(recipe, folder, files.workload, **said)
    while workload is None:
        assert not files.workload.exists()
        workload = train(recipe, folder, files.workload, resume=True, **said)
        calls += 1
    return calls


def test_a_resumed_training_gives_the_bytes_of_an_uninterrupted_one(
    folder: Path, tmp_path: Path
) -> None:
    whole, parts = Files(tmp_path / "whole.npz"), Files(tmp_path / "parts.npz")
    train(SHORT, folder, whole.workload, device="cpu")
    assert in_parts(SHORT, folder, parts) == 3
    assert whole.workload.read_bytes() == parts.workload.read_bytes()
    for one, other in zip(rows(whole), rows(parts), strict=True):
        assert one | {"seconds": ""} == other | {"seconds": ""}


def test_a_finished_training_can_be_exported_again(folder: Path, tmp_path: Path) -> None:
    files = Files(tmp_path / "a.npz")
    train(SHORT, folder, files.workload, device="cpu")
    before = files.workload.read_bytes()
    files.workload.unlink()
    train(SHORT, folder, files.workload, device="cpu", resume=True)
    assert files.workload.read_bytes() == before


def test_the_seed_makes_the_difference(folder: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"stages": [STAGE | {"epochs": 1}]}
    found = []
    for k, seed in enumerate((1, 1, 2)):
        path = tmp_path / f"{k}.npz"
        train(tiny_recipe(**changes, seed=seed), folder, path, device="cpu")
        found.append(path.read_bytes())
    assert found[0] == found[1] != found[2]


def test_another_training_s_weights_are_a_start(
    trained: tuple[Files, Workload], folder: Path, tmp_path: Path
) -> None:
    """Also of a training that is stopped and goes on."""
    other = trained[0].checkpoint
    recipe = tiny_recipe(stages=[STAGE | {"epochs": 2, "learning_rate": 1e-6}])
    log: list[dict[str, Any]] = []
    said: dict[str, Any] = {"device": "cpu", "on_epoch": log.append}
    whole = train(recipe, folder, tmp_path / "a.npz", start_from=other, **said)
    assert whole is not None
    assert log[0]["held_out_accuracy_t2"] > 0.5
    assert whole.provenance["start_from_sha256"] == checkpoint.file_sha256(other)
    assert "start_from_sha256" not in trained[1].provenance
    train(recipe, folder, tmp_path / "b.npz", start_from=other, stop_after_s=1e-9, **said)
    train(recipe, folder, tmp_path / "b.npz", resume=True, **said)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_thresholds_are_calibrated_again_for_another_network_s_accuracy(
    trained: tuple[Files, Workload], folder: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"device": "cpu", "start_from": trained[0].checkpoint}
    recipe = tiny_recipe(stages=[STAGE | {"epochs": 1, "learning_rate": 1e-6}])
    weaker = tmp_path / "weaker.npz"
    train(tiny_recipe(name="weaker", stages=[STAGE | {"epochs": 1}]), folder, weaker, device="cpu")
    workload = train(recipe, folder, tmp_path / "a.npz", baseline=weaker, **options)
    assert workload is not None
    compared = workload.accuracies["iso_baseline"]
    goal = read_workload(weaker).accuracies["integer"]["held_out_40"][-1]
    assert (compared["baseline"], compared["goal"]) == ("weaker", goal)


def refused(recipe: Recipe, folder: Path, out: Path, **options: Any) -> ImcsimError:
    with pytest.raises(ImcsimError) as caught:
        train(recipe, folder, out, device="cpu", **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_weights_of_another_network_are_refused(
    trained: tuple[Files, Workload], folder: Path, tmp_path: Path
) -> None:
    wider = tiny_recipe(network=TINY["network"] | {"width": 2.0})
    error = refused(wider, folder, tmp_path / "a.npz", start_from=trained[0].checkpoint)
    assert isinstance(error, InputFileError)
    assert str(error).endswith("tiny.checkpoint.pt: the weights are of another network")


def test_a_start_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    error = refused(FULL, folder, tmp_path / "a.npz", start_from=tmp_path / "b.pt")
    assert isinstance(error, InputFileError)
    assert str(error).endswith("b.pt: there is no such checkpoint")


def test_nothing_to_resume_is_said(folder: Path, tmp_path: Path) -> None:
    error = refused(FULL, folder, tmp_path / "a.npz", resume=True)
    assert isinstance(error, InputFileError)
    assert str(error).endswith("a.checkpoint.pt: there is no such checkpoint")


def test_another_recipe_or_other_data_are_not_resumed(
    trained: tuple[Files, Workload], folder: Path, tmp_path: Path
) -> None:
    files = trained[0]
    error = refused(SHORT, folder, files.workload, resume=True)
    assert str(error).endswith("the checkpoint belongs to another recipe")
    other = write_fake_cifar(tmp_path)
    batch = bytearray((other / "data_batch_1.bin").read_bytes())
    batch[1] ^= 1
    (other / "data_batch_1.bin").write_bytes(batch)
    error = refused(FULL, other, files.workload, resume=True)
    assert str(error).endswith("the checkpoint belongs to another data set")


def test_an_earlier_training_is_not_overwritten(
    trained: tuple[Files, Workload], folder: Path
) -> None:
    error = refused(FULL, folder, trained[0].workload)
    assert isinstance(error, UsageError)
    assert "an earlier training stands here; go on with --resume, or move" in str(error)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("none/a.npz", ImcsimError, "a.npz: its folder does not exist"),
        ("a.pt", UsageError, "a.pt: the name of a workload ends in .npz"),
        ("folder.npz", UsageError, "folder.npz: is a folder, not a workload"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    name: str, kind: type[ImcsimError], message: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.npz").mkdir()
    error = refused(FULL, folder, tmp_path / name)
    assert type(error) is kind
    assert str(error).endswith(message)


def test_a_training_goes_on_or_starts_from_another_but_not_both(
    folder: Path, tmp_path: Path
) -> None:
    error = refused(FULL, folder, tmp_path / "a.npz", resume=True, start_from=tmp_path / "b.pt")
    assert isinstance(error, UsageError)
    assert "--resume and --start-from exclude each other" in str(error)


def test_a_gpu_that_is_not_there_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda: torch finds no GPU"):
        train(FULL, folder, tmp_path / "a.npz", device="cuda")
    assert device_named("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = [device_named(name).type for name in ("auto", "cuda", "cpu")]
    assert found == ["cuda", "cuda", "cpu"]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=r"a\.csv: cannot be written \(No such file"):
        write_log(tmp_path / "none" / "a.csv", [{"epoch": 1}])
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(ImcsimError, match=r"b\.csv: cannot be written"):
        write_log(tmp_path / "b.csv", [{"epoch": 1}])
    (tmp_path / "b.csv").rmdir()
    write_log(tmp_path / "a.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert (tmp_path / "a.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
