"""Files that cannot be used: one line each with the file's name, exit code 3, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.calls import imcsim
from tests.simulator.digits import ARCH, DIGITS

Maker = Callable[[Path], Any]
TEXT = ARCH.read_text(encoding="utf-8")


def said(*changes: tuple[str, str]) -> Maker:
    """The shipped chip with parts of its text replaced."""

    def make(path: Path) -> None:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")

    return make


NOTHING: dict[str, Maker] = {
    "missing": lambda path: None,
    "directory": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
}

ARCHES: dict[str, Maker] = {
    **NOTHING,
    "unknown key": said(("  clock_hz:", "  clok_hz:")),
    "wrong unit": said(("clock_hz: 500e6", "clock_hz: 500 MHz")),
    "negative energy": said(("  read_v: 0.1", "  read_v: -0.1")),
    "duplicate key": said(("  clock_hz:", "  clock_hz: 1e6\n  clock_hz:")),
    "not a mapping": lambda path: path.write_text("- a\n- b\n"),
    "a tab": said(("  clock_hz:", "\tclock_hz:")),
    "absurd size": said(("  rows: 64", "  rows: 99999999999999999999")),
    "unknown format": said(("imcsim-arch/1", "imcsim-arch/99")),
}


def changed(change: Callable[[dict[str, Any]], Any]) -> Maker:
    """The shipped workload with arrays replaced."""

    def make(path: Path) -> None:
        with np.load(DIGITS) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(path, **arrays)

    return make


def meta(**fields: Any) -> Maker:
    def change(arrays: dict[str, Any]) -> None:
        arrays["meta"] = np.array(json.dumps(json.loads(arrays["meta"].item()) | fields))

    return changed(change)


WORKLOADS: dict[str, Maker] = {
    **NOTHING,
    "not a zip": lambda path: path.write_text("images"),
    "truncated": lambda path: path.write_bytes(DIGITS.read_bytes()[:-100]),
    "pickle": changed(lambda a: a.update(labels=np.array([{}] * 400, object))),
    "missing key": changed(lambda a: a.pop("golden_logits")),
    "wrong dtype": changed(lambda a: a.update(images=a["images"].astype(np.int16))),
    "wrong shape": changed(lambda a: a.update(images=a["images"][:, :, :5])),
    "NaN scale": changed(lambda a: a["L0.scale"].fill(np.nan)),
    "unknown version": meta(format="imcsim-workload/99"),
    "absurd size": meta(image_shape=[1, 2**40, 8]),
    "a chip": lambda path: path.write_text(TEXT),
}


@pytest.mark.parametrize("make", ARCHES.values(), ids=ARCHES)
@pytest.mark.parametrize("command", ["run", "inspect"])
def test_an_architecture_that_cannot_be_used(command: str, make: Maker, tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    make(path)
    files = [path, DIGITS] if command == "run" else [path]
    called = imcsim(command, *files)
    assert (called.code, called.out) == (3, "")
    for line in called.err.splitlines():
        assert line.startswith(f"imcsim: error: {path}:"), called.err
    assert called.err.endswith("\n")


@pytest.mark.parametrize("make", WORKLOADS.values(), ids=WORKLOADS)
@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_workload_that_cannot_be_used(command: str, make: Maker, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    make(path)
    assert imcsim(command, ARCH, path).refused(3).startswith(f"{path}: ")


@pytest.mark.parametrize("make", NOTHING.values(), ids=NOTHING)
def test_images_that_cannot_be_used(make: Maker, tmp_path: Path) -> None:
    path = tmp_path / "images.bin"
    make(path)
    assert imcsim("run", ARCH, DIGITS, "--data", path).refused(3).startswith(f"{path}: ")


def test_images_of_another_size_are_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((2, 3, 32, 32), np.uint8), labels=np.zeros(2, np.int64))
    message = imcsim("run", ARCH, DIGITS, "--data", path).refused(2)
    assert message == "--data: images are (3, 32, 32), digits takes (1, 8, 8)"


def test_all_faults_of_a_chip_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    said(("  clock_hz:", "  clok_hz:"), ("  rows: 64", "  rows: -1"))(path)
    called = imcsim("run", path, DIGITS)
    assert (called.code, called.out) == (3, "")
    assert len(called.err.splitlines()) >= 2
    assert "clok_hz" in called.err
    assert "crossbar.rows" in called.err


def test_files_in_the_wrong_order_are_not_understood() -> None:
    message = imcsim("run", DIGITS, ARCH).refused(2)
    assert message == f"{DIGITS}: this looks like a workload; the order is ARCH WORKLOAD"
