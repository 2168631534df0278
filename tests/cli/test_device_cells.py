from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import run_digits

DEVICE = ("--set", "device.variation_model=device", "--set", "device.variation=0.1")


@pytest.mark.parametrize("cells", ["eighths", "sixteenths"])
def test_a_chip_with_rounded_conductances_runs_from_end_to_end(tmp_path: Path, cells: str) -> None:
    called = run_digits(*DEVICE, "--set", f"device.cells={cells}", "--out", tmp_path / "run")
    assert called.code == 0, called.err
    assert f"cells: {cells}" in (tmp_path / "run/config.yaml").read_text()


def test_a_format_that_the_converters_cannot_use_is_one_line(tmp_path: Path) -> None:
    called = run_digits(
        *DEVICE, "--set", "device.cells=eighths", "--set", "adc.rounding=down",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert called.refused(4).startswith("device.cells eighths is for ideal converters")
    assert not (tmp_path / "run").exists()


def test_an_unknown_format_is_one_line(tmp_path: Path) -> None:
    words = run_digits("--set", "device.cells=thirds", "--out", tmp_path / "run").refused(2)
    assert words.startswith("--set device.cells=thirds: must be one of float32, eighths")
