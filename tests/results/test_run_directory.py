"""The run directory: whole or not there, equal for equal runs, and never in the way of others."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imcsim.chip import load_chip
from imcsim.errors import ImcsimError, UsageError
from imcsim.results import check_target, read_run, run_directory, write_run
from imcsim.results.contents import STEPS
from imcsim.simulator import RunResult
from tests.simulator.digits import IMAGES, chip, result

FILES = {
    "activity.npz",
    "config.yaml",
    "images.csv",
    "layers.csv",
    "provenance.json",
    "steps.npz",
    "summary.json",
}
PROVENANCE = {"command": ["imcsim", "run"]}


def found() -> RunResult:
    return result(policy="entropy", theta=0.2)


def write(directory: Path, made: RunResult | None = None) -> Path:
    write_run(directory, made or found(), PROVENANCE)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_run_directory_holds_these_files_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "run")
    assert set(contents(tmp_path / "deep" / "run")) == FILES
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


def test_a_run_directory_is_as_readable_as_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").write_text("")
    run = write(tmp_path / "run")
    assert run.stat().st_mode == plain.stat().st_mode
    modes = {path.stat().st_mode for path in run.iterdir()}
    assert modes == {(plain / "file").stat().st_mode}


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    "options",
    [{}, {"jobs": 2}, {"memory_bytes": 40_000}, {"jobs": 2, "memory_bytes": 100_000}],
    ids=str,
)
def test_equal_runs_are_equal_bytes(options: dict[str, Any], tmp_path: Path) -> None:
    first = contents(write(tmp_path / "a"))
    again = contents(write(tmp_path / "b", result(policy="entropy", theta=0.2, **options)))
    assert first == again


def test_neither_times_nor_paths_are_in_the_files(tmp_path: Path) -> None:
    for name, data in contents(write(tmp_path / "run")).items():
        assert os.fsencode(tmp_path) not in data, name
    with zipfile.ZipFile(tmp_path / "run" / "steps.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_summary_is_the_promised_object(tmp_path: Path) -> None:
    text = (write(tmp_path / "run") / "summary.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(found().summary()))


def test_the_configuration_is_the_chip_with_every_default(tmp_path: Path) -> None:
    other = chip("device.variation=0", "adc.bits=6")
    made = result("device.variation=0", "adc.bits=6", images=1)
    config = yaml.safe_load((write(tmp_path / "run", made) / "config.yaml").read_text())
    assert config["arch"]["device"]["variation"] == 0
    assert config["arch"]["adc"]["bits"] == 6
    (tmp_path / "arch.yaml").write_text(yaml.safe_dump(config["arch"], sort_keys=False))
    assert load_chip(tmp_path / "arch.yaml") == other
    assert config["run"]["images"] == 1
    assert config["run"]["workload"] == "digits"


def test_steps_hold_what_was_promised(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "run") / "steps.npz", allow_pickle=False) as steps:
        assert set(steps.files) == set(STEPS)
        assert steps["logits"].shape == (IMAGES, 4, 10)
        assert steps["logits"].dtype == np.int32
        np.testing.assert_array_equal(steps["logits"], found().logits)
        np.testing.assert_array_equal(steps["labels"], found().labels)
        assert steps["cycles"].tolist() == [list(found().timing.step_cycles)] * IMAGES


def test_activity_holds_every_count_with_its_name(tmp_path: Path) -> None:
    with np.load(write(tmp_path / "run") / "activity.npz", allow_pickle=False) as activity:
        assert activity["layers"].tolist() == ["conv1", "pool1", "conv2", "pool2", "fc"]
        shape = (IMAGES, 4, 5, len(activity["measured_actions"]))
        assert activity["measured_step"].shape == shape
        assert activity["measured_step"].dtype == np.int64


def test_an_older_run_is_replaced_with_its_pictures(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (run / "edp.png").write_bytes(b"old")
    write(run, result(seed=3, images=1))
    assert set(contents(run)) == FILES
    assert read_run(run).summary["seed"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert set(contents(write(tmp_path / "run"))) == FILES


def test_a_run_is_written_where_a_link_points(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", result(seed=3, images=1))
    assert (tmp_path / "link").is_symlink()
    assert read_run(tmp_path / "real").summary["seed"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


def test_the_working_directory_itself_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path("."))
    assert set(contents(tmp_path / "here")) == FILES


def test_what_is_not_a_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a run directory"):
        write(tmp_path / "thesis")
    # Other programs call their settings config.yaml, too.
    (tmp_path / "thesis" / "config.yaml").write_text("format: something-else/1\n")
    with pytest.raises(UsageError, match="exists and is not a run directory"):
        check_target(tmp_path / "thesis")
    (tmp_path / "note").write_text("a file")
    with pytest.raises(UsageError, match="exists and is not a directory"):
        check_target(tmp_path / "note")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_a_run_with_a_stranger_in_it_is_never_replaced(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt, which is not part of a run"):
        write(run, result(seed=3, images=1))
    assert read_run(run).summary["seed"] == 0


def test_a_directory_called_like_a_configuration_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "config.yaml").mkdir(parents=True)
    with pytest.raises(UsageError, match="exists and is not a run directory"):
        check_target(tmp_path / "run")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImcsimError, match=r"cannot be written .*file is not a directory") as caught:
        check_target(tmp_path / "file" / "run")
    assert caught.value.exit_code == 1
    with pytest.raises(ImcsimError, match=r"cannot be written .*too long"):
        check_target(tmp_path / ("x" * 300))
    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ImcsimError, match=f"no permission to write in {tmp_path}") as caught:
        check_target(tmp_path / "new" / "run")
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


WRITERS = ["images_table", "layers_table", "write_npz", "_write_text", "_config", "_replace"]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (OSError(28, "No space left on device"), ImcsimError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
    ids=["disk full", "Ctrl-C", "a bug"],
)
def test_a_failure_while_writing_leaves_nothing(
    name: str,
    raised: BaseException,
    seen: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(run_directory, name, fail)
    with pytest.raises(seen) as caught:
        write(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    if seen is ImcsimError:
        assert (
            str(caught.value) == f"{tmp_path / 'run'}: cannot be written (No space left on device)"
        )


def test_a_failure_while_writing_keeps_the_older_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(tmp_path / "run")
    before = contents(run)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        write(run, result(seed=3, images=1))
    assert contents(run) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_summary_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    write_text = run_directory._write_text

    def watched(path: Path, text: str) -> None:
        if path.name == "summary.json":
            seen.append({other.name for other in path.parent.iterdir()})
        write_text(path, text)

    monkeypatch.setattr(run_directory, "_write_text", watched)
    write(tmp_path / "run")
    assert seen == [FILES - {"summary.json"}]
