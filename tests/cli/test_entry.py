"""The entry point: exit codes, citation, version, and no traceback for a user's mistake."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import imcsim as package
from imcsim import errors
from tests.cli.calls import imcsim
from tests.simulator.digits import ARCH, DIGITS

# The package imcsim.cli exports the function main, which hides the module of that name.
entry = import_module("imcsim.cli.entry")


def test_the_version_is_that_of_the_package() -> None:
    called = imcsim("--version")
    assert (called.code, called.err) == (0, "")
    assert called.out.strip().endswith(package.__version__)


def test_the_paper_can_be_cited() -> None:
    called = imcsim("--cite")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("@inproceedings{")
    assert called.out.count("{") == called.out.count("}")
    for words in ("Li, Yuhang", "Input-Aware Dynamic Timestep", "2023"):
        assert words in called.out


def test_help_lists_every_command() -> None:
    called = imcsim("--help")
    assert (called.code, called.err) == (0, "")
    for command in ("run", "report", "inspect"):
        assert f"\n  {command} " in called.out
        assert imcsim(command, "--help").code == 0
        assert imcsim(command, "-h").out.startswith("Usage:")


def test_an_unknown_command_is_wrong_use() -> None:
    assert "No such command 'rum'" in imcsim("rum").misused()


def test_no_command_shows_the_help() -> None:
    called = imcsim()
    assert "Usage:" in called.out + called.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ImcsimError("a"), 1),
        (errors.UsageError("a"), 2),
        (errors.ArchError(["a"]), 3),
        (errors.WorkloadError("a"), 3),
        (errors.RunError("a"), 3),
        (errors.MappingError("a"), 4),
        (errors.DeadlockError("a"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_becomes_one_line_and_an_exit_code(
    error: errors.ImcsimError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(entry, "cli", fail)
    assert imcsim().refused(code) == "a"


def test_each_fault_of_a_chip_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise errors.ArchError(["a", "b"])

    monkeypatch.setattr(entry, "cli", fail)
    assert imcsim().err == "imcsim: error: a\nimcsim: error: b\n"


def test_an_error_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise errors.ImcsimError

    monkeypatch.setattr(entry, "cli", fail)
    assert imcsim().refused(1) == "ImcsimError"


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MemoryError

    monkeypatch.setattr(entry, "cli", fail)
    assert imcsim().refused(1).startswith("out of memory")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(entry, "cli", fail)
    with pytest.raises(ZeroDivisionError):
        imcsim()


def test_a_terminal_without_greek_letters_shows_question_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a terminal of Windows or of the locale "C" would be.
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(sys, "argv", ["imcsim", "inspect", str(DIGITS)])
    with pytest.raises(SystemExit) as stopped:
        entry.main()
    assert stopped.value.code == 0
    narrow.seek(0)
    assert "LIF neurons: ? = 1/2" in narrow.read()


def test_the_group_knows_only_its_commands() -> None:
    assert entry.cli.get_command(None, "rum") is None
    assert entry.cli.list_commands(None) == ["run", "report", "inspect", "train"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "missing.yaml", str(DIGITS)], 3, "imcsim: error: missing.yaml"),
        (["run", str(ARCH), str(DIGITS), "--seed", "-1"], 2, "imcsim: error: --seed -1"),
        (["inspect", str(ARCH), str(DIGITS), "--set", "lif.membrane_bits=8"], 4, "imcsim: error"),
        (["report"], 3, "imcsim: error: no finished run in runs/"),
        (["report", "--points", "1"], 2, "Usage: "),
    ],
    ids=str,
)
def test_a_shell_sees_the_exit_code_and_one_line(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "imcsim", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == code
    assert process.stdout == ""
    assert process.stderr.startswith(words)
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []


def _shell(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imcsim", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [("--cite",), ("inspect", str(DIGITS))], ids=str)
def test_a_full_disk_behind_stdout_is_one_line(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        process = _shell(*words, stdout=full)
    expected = "cannot write to standard output (No space left on device)"
    assert (process.returncode, process.stderr) == (1, f"imcsim: error: {expected}\n")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = _shell("inspect", str(DIGITS), stdout=writing)
    os.close(writing)
    assert (process.returncode, process.stderr) == (1, "")


def test_an_error_of_a_file_that_nobody_foresaw_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(entry, "cli", fail)
    with pytest.raises(OSError, match="Input/output error"):
        imcsim()
