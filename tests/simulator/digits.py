"""Cheap runs of the small shipped workload, shared by the tests of all upper floors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from imcsim.chip import Chip, load_chip
from imcsim.network import Workload, read_workload
from imcsim.simulator import RunOptions, RunResult, run

ROOT = Path(__file__).resolve().parents[2]
ARCH = ROOT / "arch" / "rram64.yaml"
DIGITS = ROOT / "workloads" / "digits.npz"
CHEAP = ("adc.calibration_images=2",)
"""Calibrating on few images changes ADC steps, and no rule that is tested here."""
IMAGES = 12


@cache
def chip(*overrides: str) -> Chip:
    return load_chip(ARCH, (*CHEAP, *overrides))


@cache
def digits() -> Workload:
    return read_workload(DIGITS)


@cache
def _result(overrides: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> RunResult:
    return run(chip(*overrides), digits(), RunOptions(**dict(options)))


def result(*overrides: str, **options: Any) -> RunResult:
    """A run of the first images; equal calls share one result."""
    said = {"images": IMAGES, "jobs": 1} | options
    return _result(overrides, tuple(sorted(said.items())))
