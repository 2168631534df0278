"""``imcsim inspect``: what is in a file, and how two of them fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import imcsim
from tests.simulator.digits import ARCH, DIGITS


def test_an_architecture_is_described() -> None:
    called = imcsim("inspect", ARCH)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("rram64: 121 tiles")


def test_overrides_change_what_is_described() -> None:
    called = imcsim("inspect", ARCH, "--set", "chip.mesh_rows=2")
    assert called.out.startswith("rram64: 22 tiles (11 × 2)")


def test_a_workload_is_described() -> None:
    called = imcsim("inspect", DIGITS)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("digits: 4 timesteps, 10 classes")


@pytest.mark.parametrize("files", [(ARCH, DIGITS), (DIGITS, ARCH)], ids=["chip first", "net first"])
def test_both_together_show_the_mapping(files: tuple[Path, Path]) -> None:
    called = imcsim("inspect", *files)
    assert (called.code, called.err) == (0, "")
    (total,) = (line for line in called.out.splitlines() if line.startswith("total"))
    assert total.split()[:4] == ["total", "6", "3", "3"]  # crossbars, PEs, tiles


def test_converters_are_reported_by_layer_and_slice() -> None:
    options = ("--set", "adc.range=fixed", "--set", "adc.step_levels=1.5", "--set", "adc.bits=6")
    called = imcsim("inspect", ARCH, DIGITS, "--adc", *options)
    assert (called.code, called.err) == (0, "")
    first, *_ = called.out.splitlines()
    assert first == "digits on rram64: 6-bit converters, range fixed, 32 calibration images"
    rows = [line.split() for line in called.out.splitlines() if " 2^" in line]
    assert [row[:4] for row in rows] == [
        [layer, f"2^{shift}", "1.5", "94.5"]
        for layer in ("conv1", "conv2", "fc")
        for shift in (4, 0)
    ]


def test_a_chip_with_other_conventions_says_so() -> None:
    options = ("mapping.row_order=flat", "crossbar.rows_per_read=16", "mapping.weight_bits=6")
    called = imcsim("inspect", ARCH, *(word for o in options for word in ("--set", o)))
    assert "2 per weight of 6 bits (signed by offset, rows by flat, 16 rows per read)" in called.out


def test_weights_that_do_not_fit_are_one_line() -> None:
    message = imcsim("inspect", ARCH, DIGITS, "--set", "mapping.weight_bits=4").refused(4)
    assert message.startswith("layer conv1 has a weight of ")
    assert "mapping.weight_bits 4 holds -7..7" in message


def test_a_workload_is_known_by_its_contents(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(DIGITS.read_bytes())
    assert imcsim("inspect", tmp_path / "net").out.startswith("digits: ")


def test_what_does_not_fit_is_one_line() -> None:
    arguments = ("--set", "chip.mesh_columns=1", "--set", "chip.mesh_rows=1")
    assert "needs 3 in all" in imcsim("inspect", ARCH, DIGITS, *arguments).refused(4)


@pytest.mark.parametrize("name", ["picture.png", "net.nir", "note.txt", "net.npz"])
def test_an_unknown_file_is_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    assert imcsim("inspect", path).refused(3).startswith(f"{path}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        ([ARCH, ARCH], "give one architecture at a time"),
        ([DIGITS, DIGITS], "give one workload at a time"),
        ([ARCH, "--adc"], "--adc needs an architecture and a workload"),
        ([DIGITS, "--adc"], "--adc needs an architecture and a workload"),
        ([DIGITS, "--set", "adc.bits=5"], "--set changes an architecture, and none is given"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str | Path], words: str) -> None:
    assert words in imcsim("inspect", *arguments).misused()


def test_a_wrong_override_is_wrong_use() -> None:
    message = imcsim("inspect", ARCH, "--set", "adc.bitz=5").refused(2)
    assert message == "--set adc.bitz=5: unknown key; did you mean adc.bits?"
