"""``imcsim train`` as far as it goes without torch: help, recipes, and what it says then."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imcsim.training.load_recipe import dump_recipe
from tests.cli.calls import imcsim
from tests.training.fake_cifar import tiny_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(dump_recipe(tiny_recipe()), encoding="utf-8")
    return path


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name == "torch" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_help_lists_the_command() -> None:
    assert "\n  train " in imcsim("--help").out
    assert imcsim("train", "--help").code == 0


HELP = """
import json, runpy, sys
sys.argv = ["imcsim", "train", "--help"]
try:
    runpy.run_module("imcsim", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def test_the_help_text_does_not_wait_for_heavy_imports(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", HELP], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}
    assert "click" in loaded
    assert not loaded & {"torch", "numba", "pandas", "matplotlib"}


@pytest.mark.usefixtures("without_torch")
def test_without_torch_one_line_says_what_to_install(recipe: Path, tmp_path: Path) -> None:
    called = imcsim("train", recipe, "--data", tmp_path, "--out", tmp_path / "a.npz")
    assert called.refused(1) == 'training needs PyTorch: pip install "imcsim[train]"'


@pytest.mark.usefixtures("without_torch")
def test_faults_of_a_recipe_are_found_without_torch(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text("utf-8").replace("seed:", "sead:"), encoding="utf-8")
    called = imcsim("train", recipe, "--data", tmp_path, "--out", tmp_path / "a.npz")
    assert (called.code, called.out) == (3, "")
    assert "tiny.yaml:" in called.err and "seed" in called.err
    assert "Traceback" not in called.err


@pytest.mark.usefixtures("without_torch")
def test_an_option_that_sets_what_is_not_there_is_wrong_use(recipe: Path, tmp_path: Path) -> None:
    for option in ("network.breadth=2", "stages.0.epochs=none"):
        called = imcsim(
            "train", recipe, "--data", tmp_path, "--out", tmp_path / "a.npz", "--set", option
        )
        assert option.partition("=")[0] in called.refused(2)


@pytest.mark.usefixtures("without_torch")
def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    called = imcsim("train", tmp_path / "b.yaml", "--data", tmp_path, "--out", tmp_path / "a.npz")
    assert "b.yaml" in called.refused(3)


@pytest.mark.parametrize(
    ("missing", "kept"), [("--data", "--out"), ("--out", "--data")], ids=["data", "out"]
)
def test_data_and_output_have_to_be_said(
    missing: str, kept: str, recipe: Path, tmp_path: Path
) -> None:
    assert f"Missing option '{missing}'" in imcsim("train", recipe, kept, tmp_path).misused()


@pytest.mark.parametrize(
    "options", [("--device", "tpu"), ("--stop-after", "0"), ("--stop-after", "soon")]
)
def test_values_that_mean_nothing_are_refused(
    options: tuple[str, str], recipe: Path, tmp_path: Path
) -> None:
    called = imcsim("train", recipe, "--data", tmp_path, "--out", tmp_path / "a.npz", *options)
    assert options[0] in called.misused()
