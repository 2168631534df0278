"""Finding files near a folder, and naming them when something is wrong."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from imcsim.errors import InputFileError

DEPTH = 2
"""How many levels below the given folder a data set is looked for: its archive's own folder in the
given one, or that of a download tool in between. More would walk through whole image trees."""
_SHOWN = 3


def folders(folder: Path) -> Iterator[Path]:
    """Yield `folder` and the folders up to `DEPTH` levels below, nearest first, in sorted order."""
    level = [folder]
    for depth in range(DEPTH + 1):
        yield from level
        if depth < DEPTH:
            level = [below for parent in level for below in _below(parent)]


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []  # a private folder beside the data is nobody's fault


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Put `path` in front of whatever input error comes up, in one line."""
    try:
        yield
    except OSError as exc:
        raise InputFileError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except InputFileError as exc:
        raise InputFileError(f"{path}: {exc}") from exc


def first_line(exc: Exception) -> str:
    """The reason in an exception of another library, short enough for a one-line message."""
    return next(iter(str(exc).splitlines()), type(exc).__name__)[:200]


@contextmanager
def open_archive(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Open a ``.tar``, compressed or not; whatever damage comes up becomes an InputFileError."""
    try:
        with tarfile.open(fileobj=file) as archive:
            yield archive
    except (tarfile.TarError, zlib.error, EOFError, OSError) as exc:
        raise InputFileError(f"damaged archive ({first_line(exc)})") from exc


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without surrounding blanks and without empty lines."""
    with blaming(path):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as exc:
            raise InputFileError("not a text file") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]


def numbered(paths: Iterable[Path]) -> list[Path]:
    """Sort files by the last number in their names, then by name."""
    return sorted(paths, key=lambda path: (number_of(path), path.name))


def number_of(path: Path) -> int:
    """The last number in a file's name before its suffix, or −1."""
    found = re.findall(r"\d+", path.stem, re.ASCII)
    return int(found[-1][-18:]) if found else -1


def refuse_incomplete(place: Path, missing: Sequence[str]) -> None:
    """Raise InputFileError if anything is missing, naming the first few."""
    if not missing:
        return
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    raise InputFileError(f"{place}: incomplete, missing {', '.join(missing[:_SHOWN])}{more}")
