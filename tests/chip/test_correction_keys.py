"""`correction`, which a file may leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from imcsim.chip import dump_chip, load_chip
from imcsim.errors import UsageError
from tests.chip.files import ARCH, RRAM64, fault, line_of


def write(folder: Path, *lines: str) -> Path:
    path = folder / "chip.yaml"
    path.write_text("\n".join([RRAM64, "correction:", *(f"  {line}" for line in lines), ""]))
    return path


def test_a_file_without_it_corrects_nothing() -> None:
    assert "correction:" not in RRAM64
    correction = load_chip(ARCH / "rram64.yaml").correction
    assert (correction.channels, correction.theta, correction.images) == (False, False, None)


def test_a_file_may_turn_each_on_and_comes_back_from_its_dump(tmp_path: Path) -> None:
    chip = load_chip(write(tmp_path, "channels: true", "images: 32"))
    assert (chip.correction.channels, chip.correction.theta) == (True, False)
    assert chip.correction.images == 32
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text(dump_chip(chip))
    assert load_chip(dumped) == chip


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        ("channels: 1", "channels", "must be true or false (got 1)"),
        ("theta: 0.3", "theta", "must be true or false (got 0.3)"),
        ("images: 0", "images", "must be a whole number from 1 to 1048576 (got 0)"),
        ("chanels: true", "chanels", "unknown key; did you mean channels?"),
    ],
)
def test_faults_are_named_at_their_place(tmp_path: Path, line: str, key: str, message: str) -> None:
    path = write(tmp_path, line)
    found = fault(path)
    assert found.startswith(f"chip.yaml:{line_of(path, line)}:")
    assert found.endswith(f" correction.{key}: {message}")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("correction.images=-1", "must be a whole number from 1 to 1048576 (got -1)"),
        ("correction.theta=yes", "must be true or false (got 'yes'); write true"),
        ("correction=true", "a section, not a key; its keys are channels, theta, images"),
    ],
)
def test_an_option_is_refused_with_its_reason(option: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_chip(ARCH / "rram64.yaml", [option])
    assert str(caught.value) == f"--set {option}: {message}"
