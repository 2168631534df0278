"""A progress bar for people, and nothing for programs."""

from __future__ import annotations

import io

import pytest

from imcsim.cli.progress import StageProgress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use() -> None:
    with StageProgress() as progress:
        progress.stage("running images", 12)
        progress.advance(5)
        progress._bar.refresh()
        progress.stage("writing")


def test_a_terminal_sees_the_stage_and_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    use()
    assert "running images" in terminal.getvalue()
    assert "5/12" in terminal.getvalue()


def test_a_file_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    use()
    assert file.getvalue() == ""


def test_a_program_without_stderr_says_nothing_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    use()
    assert capsys.readouterr().out == ""


def test_a_failing_stage_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", _Terminal())
    progress = StageProgress()
    with pytest.raises(ZeroDivisionError), progress:
        raise ZeroDivisionError
    assert progress._bar.finished or not progress._bar.live.is_started
