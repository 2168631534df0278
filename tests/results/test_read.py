"""Reading runs back: a damaged file is one line that names it, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imcsim.errors import RunError
from imcsim.results import Run, newest_run, read_run, write_run
from imcsim.results.contents import STEPS
from tests.simulator.digits import IMAGES, result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "run"
    write_run(directory, result(policy="entropy", theta=0.2), {"wall_s": 1.0})
    return directory


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def reason(directory: Path, use: Callable[[Run], Any] = lambda run: None) -> str:
    """Why a run cannot be read (or used), without its directory."""
    with pytest.raises(RunError) as caught:
        use(read_run(directory))
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in message
    return message.replace(f"{directory}/", "").replace(f"{directory}: ", "")


def test_a_run_comes_back_as_it_was(run: Path) -> None:
    found, back = result(policy="entropy", theta=0.2), read_run(run)
    assert back.name == "run"
    assert back.summary == json.loads(json.dumps(found.summary()))
    assert set(back.steps) == set(STEPS)
    np.testing.assert_array_equal(back.steps["energy_j"], found.step_energy_j)
    assert back.provenance == {"wall_s": 1.0}
    assert back.images()["energy_j"].tolist() == pytest.approx(found.dynamic.energy_j, rel=1e-14)
    assert back.layers()["layer"].tolist() == ["conv1", "pool1", "conv2", "pool2", "fc"]


def test_a_run_has_a_name_wherever_one_stands(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert read_run(Path(".")).name == "run"


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    assert reason(tmp_path / "run") == "no such directory"
    (tmp_path / "file").write_text("")
    assert reason(tmp_path / "file") == "is a file, not a run directory"


def test_a_run_that_is_not_finished(run: Path) -> None:
    (run / "summary.json").unlink()
    assert reason(run) == "not a finished run (summary.json is missing)"


def test_a_folder_of_runs_names_one(run: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_run(run.parent)
    assert str(caught.value).endswith(f"is missing; it holds runs, the last one is {run})")


def test_a_name_that_cannot_be_looked_up(tmp_path: Path) -> None:
    assert "too long" in reason(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json", "steps.npz"])
def test_a_missing_file(name: str, run: Path) -> None:
    (run / name).unlink()
    assert reason(run) == f"{name}: missing"


@pytest.mark.parametrize("name", ["images.csv", "layers.csv"])
def test_a_missing_table(name: str, run: Path) -> None:
    (run / name).unlink()
    assert reason(run, getattr(Run, name.removesuffix(".csv"))) == f"{name}: missing"


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json", "summary.json", "steps.npz"])
@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_a_damaged_file(name: str, data: bytes, run: Path) -> None:
    (run / name).write_bytes(data)
    assert reason(run).startswith(f"{name}: ")


def test_a_summary_nested_beyond_reason(run: Path) -> None:
    (run / "summary.json").write_text("[" * 100_000)
    assert reason(run).startswith("summary.json: damaged (")


@pytest.mark.parametrize("name", ["images.csv", "layers.csv"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"a,b\n1\n1,2,3\n", b"a,b\n"])
def test_a_damaged_table(name: str, data: bytes, run: Path) -> None:
    (run / name).write_bytes(data)
    assert reason(run, getattr(Run, name.removesuffix(".csv"))).startswith(f"{name}: ")


@pytest.mark.parametrize("kept", [1, 100, 0.5, 0.99])
def test_truncated_steps(kept: float, run: Path) -> None:
    data = (run / "steps.npz").read_bytes()
    (run / "steps.npz").write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    assert reason(run).startswith("steps.npz: damaged (not a .npz file, or a truncated one")


def test_another_format(run: Path) -> None:
    text = (run / "config.yaml").read_text().replace("imcsim-run/1", "imcsim-run/9")
    (run / "config.yaml").write_text(text)
    expected = "config.yaml: unknown format 'imcsim-run/9', this program reads 'imcsim-run/1'"
    assert reason(run) == expected


Change = Callable[[dict[str, Any]], Any]


def change_config(run: Path, change: Change) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("format"), "config.yaml: format: missing"),
        (lambda c: c.pop("run"), "config.yaml: run: missing"),
        (lambda c: c.update(run=[1]), "config.yaml: run: "),
        (lambda c: c.update(run="x"), "config.yaml: run: "),
        (lambda c: c.update(arch=None), "config.yaml: arch: "),
        (lambda c: c["arch"].pop("name"), "config.yaml: arch.name: missing"),
        (lambda c: c["arch"].update(sigma_e={}), "config.yaml: arch.sigma_e.sigma_lut_bytes: miss"),
        (lambda c: c["arch"]["chip"].update(clock_hz=0), "config.yaml: arch.chip.clock_hz: "),
        (lambda c: c["run"].update(theta=0.3), "config.yaml: run.theta: "),
        (lambda c: c["run"].update(timesteps="4"), "config.yaml: run.timesteps: "),
        (lambda c: c["run"].update(policy="luck"), "config.yaml: run.policy: "),
        (lambda c: c["run"].update(logit_scale=float("nan")), "config.yaml: run.logit_scale: "),
        (lambda c: c["run"].update(static=False), "summary.json: static: "),
        (lambda c: c["run"].update(images=9), "summary.json: timesteps_histogram: 9 images"),
        (lambda c: c["run"].update(classes=9), "steps.npz: logits: int32 (12, 4, 9) expected"),
    ],
)
def test_a_configuration_that_makes_no_sense(change: Change, message: str, run: Path) -> None:
    change_config(run, change)
    assert reason(run).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("static"), "static: missing"),
        (lambda s: s.pop("energy_j"), "energy_j: missing"),
        (lambda s: s.update(energy_j=float("nan")), "energy_j: "),
        (lambda s: s.update(energy_by_component_j={"adc": "much"}), "energy_by_component_j.adc: "),
        (lambda s: s.update(timesteps_histogram=[1]), "timesteps_histogram: 12 images over 4"),
        (lambda s: s["static"].pop("edp_js"), "static.edp_js: missing"),
        (lambda s: s["static"].update(images=3), "static.timesteps_histogram: 12 images over 4"),
        (
            lambda s: s["static"]["energy_by_component_j"].pop("adc"),
            "static.energy_by_component_j: other components",
        ),
    ],
)
def test_a_summary_that_makes_no_sense(change: Change, message: str, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    change(summary)
    (run / "summary.json").write_text(json.dumps(summary))
    assert reason(run).startswith(f"summary.json: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("logits"), "logits: missing"),
        (lambda a: a.update(logits=a["logits"][:, :2]), "logits: int32 (12, 4, 10) expected"),
        (lambda a: a.update(labels=a["labels"].astype(np.int32)), "labels: int64 (12,) expected"),
        (lambda a: a.update(energy_j=a["energy_j"] * np.nan), "energy_j: not all values are"),
        (lambda a: a.update(once_cycles=np.array([1])), "once_cycles: int64 () expected"),
        (lambda a: a.update(labels=np.array([{}] * IMAGES)), "damaged (labels: damaged ("),
    ],
)
def test_steps_that_make_no_sense(change: Change, message: str, run: Path) -> None:
    with np.load(run / "steps.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(run / "steps.npz", **arrays)
    assert reason(run).startswith(f"steps.npz: {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("firing_rate", "firing", "firing_rate: this column is missing"),
        ("bound_by", "bound", "bound_by: this column is missing"),
        ("conv1,conv,1,", "conv1,conv,one,", "crossbars: not all values of this column are"),
    ],
)
def test_layers_that_make_no_sense(old: str, new: str, message: str, run: Path) -> None:
    text = (run / "layers.csv").read_text()
    assert old in text
    (run / "layers.csv").write_text(text.replace(old, new))
    assert reason(run, Run.layers).startswith(f"layers.csv: {message}")


def test_images_that_are_not_all_there(run: Path) -> None:
    lines = (run / "images.csv").read_text().splitlines()
    (run / "images.csv").write_text("\n".join(lines[:-2]) + "\n")
    assert reason(run, Run.images) == f"images.csv: {IMAGES - 2} rows for {IMAGES} images"
    (run / "images.csv").write_text(lines[0] + "\n")
    assert "images.csv: " in reason(run, Run.images)


def test_layers_may_be_called_like_numbers_and_nothing(run: Path) -> None:
    text = (run / "layers.csv").read_text().replace("conv1,", "NA,").replace("pool1,", "01,")
    (run / "layers.csv").write_text(text)
    assert read_run(run).layers()["layer"].tolist()[:2] == ["NA", "01"]


def test_edp_is_the_mean_of_products_of_the_images(run: Path) -> None:
    read, images = read_run(run), read_run(run).images()
    products = [e * s for e, s in zip(images["energy_j"], images["latency_s"], strict=True)]
    assert sum(products) / len(products) == pytest.approx(read.summary["edp_js"], rel=1e-12)
    fixed = images["static_energy_j"] * images["static_latency_s"]
    assert float(fixed.mean()) == pytest.approx(read.summary["static"]["edp_js"], rel=1e-12)


def test_the_newest_run_is_the_one_finished_last(made: Path, tmp_path: Path) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        shutil.copytree(made, tmp_path / name)
        os.utime(tmp_path / name / "summary.json", ns=(0, 10**9 * (100 - age)))
    assert newest_run(tmp_path) == tmp_path / "c"
    os.utime(tmp_path / "a" / "summary.json", ns=(0, 10**9 * 200))
    assert newest_run(tmp_path) == tmp_path / "a"


def test_unfinished_runs_are_not_looked_at(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "old")
    os.utime(tmp_path / "old" / "summary.json", ns=(0, 0))
    shutil.copytree(made, tmp_path / ".new.123.part")
    (tmp_path / "empty").mkdir()
    (tmp_path / "summary.json").write_text("{}")
    assert newest_run(tmp_path) == tmp_path / "old"


def test_where_there_is_no_run_the_way_to_one_is_shown(tmp_path: Path) -> None:
    for parent in (tmp_path, tmp_path / "runs"):
        with pytest.raises(RunError, match=r"no finished run in .*make one with: imcsim run"):
            newest_run(parent)
