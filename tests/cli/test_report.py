"""``imcsim report``: from the run directory alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from imcsim.results import write_run
from tests.cli.calls import imcsim
from tests.simulator.digits import result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "first"
    write_run(directory, result(policy="entropy", theta=0.2), {})
    return directory


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, far from where it was made, seen from its parent."""
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def test_the_summary_comes_from_the_directory_alone(run: Path) -> None:
    called = imcsim("report", run)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("digits on rram64: 12 images")


def test_json_is_the_summary(run: Path) -> None:
    called = imcsim("report", run, "--json")
    assert (called.code, called.err) == (0, "")
    assert json.loads(called.out) == json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize(
    ("options", "words", "absent"),
    [
        (["--layers"], ["firing rate", "conv2"], ["leakage  "]),
        (["--components"], ["energy by component", "leakage"], ["firing rate"]),
        (["--layers", "--components"], ["firing rate", "energy by component"], ["T̂ = 1"]),
    ],
)
def test_tables_can_be_chosen(
    options: list[str], words: list[str], absent: list[str], run: Path
) -> None:
    called = imcsim("report", run, *options)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("digits on rram64")
    assert all(word in called.out for word in words)
    assert not any(word in called.out for word in absent)


def test_edp_prints_and_draws_the_same_each_time(run: Path) -> None:
    called = imcsim("report", run, "--edp", "--points", "5")
    assert called.code == 0
    assert called.err.strip() == "drawn: run/edp.png, run/edp.svg"
    assert "static T = 4" in called.out
    pictures = [(run / name).read_bytes() for name in ("edp.png", "edp.svg")]
    assert pictures[0].startswith(b"\x89PNG\r\n\x1a\n")
    assert pictures[1].rstrip().endswith(b"</svg>")
    again = imcsim("report", run, "--edp", "--points", "5")
    assert again == called
    assert [(run / name).read_bytes() for name in ("edp.png", "edp.svg")] == pictures


def test_pictures_go_where_they_are_wanted(run: Path) -> None:
    called = imcsim("report", run, "--edp", "--json", "--points", "3", "--out", "pictures")
    assert called.code == 0
    assert {path.name for path in Path("pictures").iterdir()} == {"edp.png", "edp.svg"}
    assert not (run / "edp.png").exists()
    curve = json.loads(called.out)
    assert [point["label"] for point in curve["static"]] == [f"T = {t}" for t in (1, 2, 3, 4)]
    assert curve["static"][3]["edp_js"] == pytest.approx(
        json.loads((run / "summary.json").read_text())["static"]["edp_js"], rel=1e-12
    )


def test_pictures_that_cannot_be_written_fail_the_report(run: Path) -> None:
    Path("file").write_text("")
    called = imcsim("report", run, "--edp", "--points", "2", "--out", "file")
    assert called.code == 1
    assert "static T = 4" in called.out  # the table needs no folder
    assert called.err.startswith("imcsim: error: file: cannot be written (")
    assert "--out" in called.err
    assert len(called.err.splitlines()) == 1


def test_the_newest_run_is_reported(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for age, seed in enumerate((5, 6)):
        write_run(Path(f"runs/seed{seed}"), result(seed=seed, images=1), {})
        os.utime(f"runs/seed{seed}/summary.json", ns=(0, 10**9 * (100 - age)))
    assert json.loads(imcsim("report", "--json").out)["seed"] == 5
    assert imcsim("report").err == "run directory: runs/seed5\n"
    os.utime("runs/seed6/summary.json", ns=(0, 10**9 * 200))
    assert json.loads(imcsim("report", "--json").out)["seed"] == 6


def test_without_a_run_the_way_to_one_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = imcsim("report").refused(3)
    assert message.startswith("no finished run in runs/ (make one with: imcsim run ARCH WORKLOAD")


def test_several_runs_are_reported_in_turn(run: Path) -> None:
    one, two = imcsim("report", run), imcsim("report", run, run)
    assert two.out == f"{one.out}\n{one.out}"
    lines = imcsim("report", run, run, "--json").out.splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == json.loads(lines[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "there"], "--out is the folder for the pictures of --edp"),
        (["a", "b", "--edp", "--out", "there"], "--out takes the pictures of one run"),
        (["--json", "--layers"], "--json prints the summary or, with --edp, the curve"),
        (["--points", "1"], "--points"),
    ],
)
def test_options_that_say_nothing_together_are_wrong_use(arguments: list[str], words: str) -> None:
    assert words in imcsim("report", *arguments).misused()


def test_a_run_without_baseline_has_no_curve(tmp_path: Path) -> None:
    directory = tmp_path / "stopped"
    write_run(directory, result(policy="entropy", theta=0.2, static=False), {})
    message = imcsim("report", directory, "--edp").refused(3)
    assert message.startswith(f"{directory}: made with --no-static; ")
    called = imcsim("report", directory)
    assert called.code == 0
    assert "no static baseline" in called.out


def _config(directory: Path, **fields: Any) -> None:
    config = yaml.safe_load((directory / "config.yaml").read_text())
    (directory / "config.yaml").write_text(yaml.safe_dump(config | fields))


DAMAGES = {
    "no summary": lambda run: (run / "summary.json").unlink(),
    "summary is no JSON": lambda run: (run / "summary.json").write_text("{"),
    "summary is a list": lambda run: (run / "summary.json").write_text("[]"),
    "summary is empty": lambda run: (run / "summary.json").write_text("{}"),
    "no steps": lambda run: (run / "steps.npz").unlink(),
    "steps cut off": lambda run: os.truncate(run / "steps.npz", 1000),
    "steps of zero bytes": lambda run: os.truncate(run / "steps.npz", 0),
    "no configuration": lambda run: (run / "config.yaml").unlink(),
    "configuration of another format": lambda run: _config(run, format="imcsim-run/2"),
    "run is no mapping": lambda run: _config(run, run=3),
    "no arch": lambda run: _config(run, arch={}),
    "configuration is no YAML": lambda run: (run / "config.yaml").write_text("a: [b"),
    "no layers": lambda run: (run / "layers.csv").unlink(),
    "layers of zero bytes": lambda run: os.truncate(run / "layers.csv", 0),
    "provenance is no JSON": lambda run: (run / "provenance.json").write_text(""),
    "no directory": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_one_line_that_names_the_file(damage: Any, run: Path) -> None:
    damage(run)
    assert imcsim("report", run).refused(3).startswith("run")
