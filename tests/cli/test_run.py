"""``imcsim run``: the promised object, the run directory, and what neither may depend on."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imcsim.chip import load_chip
from imcsim.cli.run import POLICIES
from imcsim.functional import exits
from imcsim.results import read_run, run_directory, write_run
from tests.cli.calls import QUICK, Called, imcsim, run_digits
from tests.simulator.digits import ARCH, CHEAP, DIGITS, ROOT, result
from tests.simulator.test_result import PROMISED

SAME = {"summary.json", "images.csv", "layers.csv", "steps.npz", "activity.npz", "config.yaml"}
MIXED = ("--theta", "0.2")


def test_the_command_line_offers_every_exit_policy() -> None:
    assert POLICIES == exits.POLICIES


def refuse_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def parsed(called: Called) -> dict[str, Any]:
    assert called.code == 0, called.err
    said: dict[str, Any] = json.loads(called.out, parse_constant=refuse_constant)
    return said


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    directory = tmp_path_factory.mktemp("first") / "run"
    return directory, run_digits(*MIXED, "--json", "--out", directory)


def test_json_is_one_object_with_the_promised_keys(first: tuple[Path, Called]) -> None:
    directory, called = first
    said = parsed(called)
    assert called.err == ""
    assert set(said) == PROMISED | {"run_dir", "wall_s"}
    assert set(said["static"]) == PROMISED - {"static"}
    assert said["run_dir"] == str(directory)
    assert said["wall_s"] > 0
    assert said["images"] == 12


def test_the_summary_file_is_that_object_without_time_and_place(first: tuple[Path, Called]) -> None:
    directory, called = first
    said = parsed(called)
    del said["run_dir"], said["wall_s"]
    assert json.loads((directory / "summary.json").read_text()) == said
    provenance = json.loads((directory / "provenance.json").read_text())
    assert provenance["command"][:3] == ["imcsim", "run", str(ARCH)]
    assert provenance["wall_s"] == parsed(called)["wall_s"]


def test_the_numbers_agree_with_each_other(first: tuple[Path, Called]) -> None:
    said = parsed(first[1])
    for outcome in (said, said["static"]):
        parts = outcome["energy_by_component_j"].values()
        assert math.fsum(parts) == pytest.approx(outcome["energy_j"], rel=1e-9)
        assert sum(outcome["timesteps_histogram"]) == outcome["images"]
        cycles = outcome["latency_s"] * outcome["clock_hz"]
        assert outcome["latency_cycles"] == pytest.approx(cycles)
    assert (said["crossbars"], said["tiles"]) == (6, 3)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--jobs", "1"),
        ("--jobs", "2"),
        ("--memory", "50K", "--jobs", "1"),
        ("--memory", "0.1MiB", "--jobs", "2"),
    ],
    ids=" ".join,
)
def test_the_same_seed_gives_the_same_bytes(
    arguments: tuple[str, ...], first: tuple[Path, Called], tmp_path: Path
) -> None:
    assert run_digits(*MIXED, *arguments, "--out", tmp_path / "again").code == 0
    for name in sorted(SAME):
        assert (tmp_path / "again" / name).read_bytes() == (first[0] / name).read_bytes(), name


@pytest.mark.needs_jit
def test_another_seed_is_another_chip(first: tuple[Path, Called], tmp_path: Path) -> None:
    said = parsed(run_digits("--seed", "1", "--json", "--out", tmp_path / "other"))
    assert said["seed"] == said["static"]["seed"] == 1
    logits = []
    for directory in (first[0], tmp_path / "other"):
        with np.load(directory / "steps.npz") as steps:
            logits.append(steps["logits"])
    assert (logits[0] != logits[1]).any()


def test_options_reach_the_simulator(tmp_path: Path) -> None:
    options = ["--images", "5", "--timesteps", "3", "--exit", "margin", "--theta", "2.5"]
    others = ["--seed", "9", "--jobs", "1", "--set", "device.variation=0"]
    said = parsed(run_digits(*options, *others, "--json", "--out", tmp_path / "run"))
    expected = result(
        "device.variation=0", images=5, timesteps=3, policy="margin", theta=2.5, seed=9
    )
    assert {key: said[key] for key in PROMISED} == expected.summary()
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["arch"]["device"]["variation"] == 0
    assert config["run"] == {
        "workload": "digits", "images": 5, "timesteps": 3, "policy": "margin", "theta": [2.5],
        "accumulate": "sum", "seed": 9, "static": True, "classes": 10,
        "logit_scale": config["run"]["logit_scale"],
    }  # fmt: skip
    (tmp_path / "arch.yaml").write_text(yaml.safe_dump(config["arch"]))
    assert load_chip(tmp_path / "arch.yaml") == load_chip(ARCH, (*CHEAP, "device.variation=0"))


@pytest.mark.needs_jit
@pytest.mark.parametrize("policy", ["static", "entropy", "confidence", "margin", "oracle"])
def test_stopping_early_keeps_the_dynamic_numbers(policy: str, tmp_path: Path) -> None:
    full = parsed(run_digits("--exit", policy, "--json", "--out", tmp_path / "full"))
    short = parsed(run_digits("--exit", policy, "--no-static", "--json", "--out", tmp_path / "s"))
    assert short["static"] is None
    assert set(short) == set(full)
    different = {key for key in full if full[key] != short[key]}
    assert different <= {"static", "run_dir", "wall_s"}
    if policy == "static":
        assert full["theta"] is None
        assert full["timesteps_histogram"] == [0, 0, 0, 12]
        assert full["energy_j"] == full["static"]["energy_j"]


def test_thresholds_by_timestep(tmp_path: Path) -> None:
    said = parsed(
        run_digits("--images", "2", "--theta", "0,1,0", "--json", "--out", tmp_path / "run")
    )
    assert said["theta"] == [0, 1, 0]
    assert said["timesteps_histogram"] == [0, 2, 0, 0]


@pytest.mark.needs_jit
def test_a_verified_run_says_so_on_stderr(tmp_path: Path) -> None:
    called = run_digits("--verify", "--json", "--out", tmp_path / "run")
    assert set(parsed(called)) == PROMISED | {"run_dir", "wall_s"}
    assert called.err.startswith("verified: ")
    assert "(16 images, 4 timesteps) equal the numpy reference" in called.err


def test_without_json_there_are_tables(tmp_path: Path) -> None:
    called = run_digits("--out", tmp_path / "run")
    assert called.code == 0
    assert called.out.startswith("digits on rram64: 12 images, ")
    for words in ("dynamic / static", "T̂ = 1", "leakage", "where the time goes"):
        assert words in called.out
    assert called.err.strip().endswith(f"run directory: {tmp_path / 'run'}")


def test_runs_go_to_a_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directories = [parsed(run_digits("--images", "1", "--json"))["run_dir"] for _ in range(2)]
    assert len(set(directories)) == 2
    for directory in directories:
        assert (tmp_path / directory / "summary.json").is_file()
        assert Path(directory).parts[0] == "runs"
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.needs_jit
def test_other_images_can_be_run(tmp_path: Path) -> None:
    with np.load(DIGITS) as file:
        images, labels = file["images"][12:20], file["labels"][12:20]
    np.savez(tmp_path / "other.npz", images=images, labels=labels)
    called = imcsim(
        "run", ARCH, DIGITS, "--set", CHEAP[0], "--data", tmp_path / "other.npz",
        "--json", "--out", tmp_path / "run",
    )  # fmt: skip
    assert parsed(called)["images"] == 8
    with np.load(tmp_path / "run" / "steps.npz") as steps:
        np.testing.assert_array_equal(steps["labels"], labels)
        np.testing.assert_array_equal(steps["logits"][:4], result(images=16).logits[12:])


def test_an_older_run_is_replaced(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        assert run_digits("--images", "1", "--seed", seed, "--out", tmp_path / "run").code == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_prints_itself_when_another_replaces_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run_digits("--images", "1", "--out", tmp_path / "alone").out
    replace = run_directory._replace

    def overtaken(part: Path, target: Path) -> None:
        replace(part, target)
        monkeypatch.setattr(run_directory, "_replace", replace)
        write_run(target, result(images=2, seed=7), {})

    monkeypatch.setattr(run_directory, "_replace", overtaken)
    assert run_digits("--images", "1", "--out", tmp_path / "run").out == alone
    assert read_run(str(tmp_path / "run")).summary["seed"] == 7


def test_a_folder_that_is_no_run_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr("imcsim.simulator.run", never)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    message = run_digits("--out", tmp_path / "mine").refused(2)
    assert message == f"--out {tmp_path / 'mine'}: exists and is not a run directory"
    (tmp_path / "file").write_text("")
    assert "is not a directory" in run_digits("--out", tmp_path / "file").refused(2)
    message = run_digits("--out", tmp_path / "file" / "run").refused(1)
    assert message.startswith(f"{tmp_path / 'file' / 'run'}: cannot be written (")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imcsim.results.run_directory.write_npz", full)
    message = run_digits("--images", "1", "--out", tmp_path / "run").refused(1)
    assert message == f"{tmp_path / 'run'}: cannot be written (No space left on device)"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("imcsim.results.run_directory.write_npz", interrupted)
    called = run_digits("--images", "1", "--out", tmp_path / "run")
    assert called.code == 1
    assert called.err.strip() == "Aborted!"
    assert list(tmp_path.iterdir()) == []


WRONG_USE = [
    (["--images", "0"], "--images 0: must be at least 1"),
    (["--images", "401"], "--images 401: only 400 available"),
    (["--timesteps", "0"], "--timesteps 0: must be 1 to 4096"),
    (["--theta", "1.01"], "threshold 1.01 of exit policy entropy must be between 0 and 1"),
    (["--theta", "nan"], "threshold nan of exit policy entropy"),
    (["--theta", "0.1,0.2"], "2 thresholds for 4 timesteps"),
    (["--exit", "static", "--theta", "0.3"], "exit policy static takes no threshold"),
    (["--exit", "margin", "--theta", "inf"], "threshold inf of exit policy margin"),
    (["--jobs", "0"], "--jobs 0: must be at least 1"),
    (["--memory", "1"], "--memory 1: "),
    (["--memory", "0"], "--memory 0: must be at least 1 byte"),
    (["--seed", "-1"], "--seed -1: must be 0 to"),
    (["--set", "adc.bitz=5"], "--set adc.bitz=5: unknown key; did you mean adc.bits?"),
    (["--set", "adc.bits=many"], "--set adc.bits=many: "),
    (["--set", "adc.bits"], "--set adc.bits: must look like KEY=VALUE"),
    (["--set", "chip.clock_hz=500MHz"], "--set chip.clock_hz=500MHz: "),
    (["--set", "device.r_on_ohm=-1"], "--set device.r_on_ohm=-1: "),
]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG_USE, ids=[" ".join(arguments) for arguments, _ in WRONG_USE]
)
def test_wrong_use_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    assert run_digits(*arguments, "--out", tmp_path / "run").refused(2).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--theta", "low"], "'low' is not a number"),
        (["--theta", ""], "'' is not a number"),
        (["--exit", "luck"], "'luck' is not one of"),
        (["--memory", "much"], "'much' is not a number of bytes"),
        (["--memory", "inf"], "'inf' is not a number of bytes"),
        (["--memory", "1GG"], "'1GG' is not a number of bytes"),
        (["--images", "few"], "'few' is not a valid integer"),
        (["--nonsense"], "No such option"),
        (["one", "more"], "unexpected extra argument"),
    ],
)
def test_wrong_words_are_explained_with_the_usage(arguments: list[str], words: str) -> None:
    assert words in run_digits(*arguments).misused()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["chip.mesh_columns=1", "chip.mesh_rows=1"], "layer conv2 needs 1 tile, "),
        (["lif.membrane_bits=8"], "digits needs 16-bit membranes, rram64 has 8 bits"),
        (["sigma_e.fifo_depth=4"], "digits has 10 classes, the σ-E module's FIFOs hold 4"),
        (["sigma_e.sigma_lut_bytes=16"], "sigma_e.sigma_lut_bytes is 16"),
        (["lif.membrane_memory_bytes=1"], "no room for the 1,536 membranes of digits"),
        (["pe.buffer_bytes=1"], "no room for one input window of layer conv1"),
        (["chip.global_buffer_bytes=1"], "no room for one image"),
    ],
    ids=str,
)
def test_a_network_that_does_not_fit_is_one_line(
    overrides: list[str], message: str, tmp_path: Path
) -> None:
    options = [word for override in overrides for word in ("--set", override)]
    assert run_digits(*options, "--out", tmp_path / "run").refused(4).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arch", "workload"), [(ARCH, None), (None, DIGITS), (None, None)])
def test_both_files_are_needed(arch: Path | None, workload: Path | None) -> None:
    assert "Missing argument" in imcsim("run", *filter(None, (arch, workload)), *QUICK).misused()


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
def test_a_run_works_with_stderr_closed(tmp_path: Path) -> None:
    words = [ARCH, DIGITS, *QUICK, "--images", "1", "--json", "--out", tmp_path / "run"]
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "imcsim", "run", *words]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 0
    assert json.loads(process.stdout)["images"] == 1


@pytest.mark.slow
def test_the_main_job_keeps_its_promises_too(tmp_path: Path) -> None:
    workload = ROOT / "workloads" / "vgg16_cifar10.npz"
    called = imcsim(
        "run", ARCH, workload, "--images", "4", "--set", CHEAP[0], "--json", "--out", tmp_path / "r"
    )
    said = parsed(called)
    assert set(said) == PROMISED | {"run_dir", "wall_s"}
    assert (said["crossbars"], said["tiles"]) == (7192, 118)
    for outcome in (said, said["static"]):
        parts = outcome["energy_by_component_j"].values()
        assert math.fsum(parts) == pytest.approx(outcome["energy_j"], rel=1e-9)
    assert imcsim("report", tmp_path / "r", "--edp").code == 0
