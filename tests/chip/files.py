"""Architecture files for tests: the shipped one with a few lines changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from imcsim.chip import load_chip
from imcsim.errors import ArchError

ARCH = Path(__file__).resolve().parents[2] / "arch"
RRAM64 = (ARCH / "rram64.yaml").read_text()


def changed(folder: Path, *changes: tuple[str, str], name: str = "chip.yaml") -> Path:
    """Write rram64 with each first text replaced, once, by the second one."""
    text = RRAM64
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path


def line_of(path: Path, words: str) -> int:
    """Number of the one line that holds `words`."""
    (line,) = (i for i, text in enumerate(path.read_text().splitlines(), 1) if words in text)
    return line


def faults(path: Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> list[str]:
    """Fault lines of a file that must not load, without its folder."""
    with pytest.raises(ArchError) as caught:
        load_chip(path, overrides)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.faults]


def fault(path: Path) -> str:
    """The one fault of a file."""
    (line,) = faults(path)
    return line
