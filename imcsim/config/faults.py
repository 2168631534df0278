"""What is wrong with an input, and where it was said: in a file or on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from imcsim.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Place:
    """A position in a file, counted from 1; line 0 stands for the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Option:
    """A ``--set KEY=VALUE`` of the command line."""

    text: str

    def __str__(self) -> str:
        return f"--set {self.text}"


Origin = Place | Option


@dataclass(frozen=True)
class Fault:
    """One fault, shown as one line: ``file:line:column: key: message``."""

    origin: Origin
    key: str
    message: str

    def __str__(self) -> str:
        key = "" if isinstance(self.origin, Option) or not self.key else f"{self.key}: "
        # Quoted keys and options may hold line breaks; one fault stays one line.
        return " ".join(f"{self.origin}: {key}{self.message}".splitlines())


class UnreadableError(Exception):
    """A file of which nothing can be used, with the fault that says why; readers catch it."""

    def __init__(self, fault: Fault):
        self.fault = fault
        super().__init__(str(fault))


def raise_faults(faults: Sequence[Fault], error: type[ConfigError]) -> NoReturn:
    """Report all faults together, in the order of the files' lines.

    Parameters
    ----------
    error : type
        Class of the error for this kind of file.

    Raises
    ------
    UsageError
        If only ``--set`` options are wrong: no edit of a file could help.
    ConfigError
        Otherwise, of the class `error`.
    """
    lines = [str(fault) for fault in sorted(faults, key=_position)]
    if all(isinstance(fault.origin, Option) for fault in faults):
        raise UsageError("\n".join(lines))
    raise error(lines)


def _position(fault: Fault) -> tuple[bool, str, int, int]:
    origin = fault.origin
    if isinstance(origin, Option):
        return True, "", 0, 0
    return False, origin.file, origin.line, origin.column
