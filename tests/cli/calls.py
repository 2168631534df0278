"""Call the command line in this process, as a shell would."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from imcsim.cli import main
from tests.simulator.digits import ARCH, CHEAP, DIGITS

QUICK = ("--images", "12", "--set", *CHEAP)
"""Few images, and few to calibrate on."""


@dataclass(frozen=True)
class Called:
    """What a call left behind."""

    code: int
    out: str
    err: str

    def refused(self, code: int) -> str:
        """The one line of words of a call that must fail with `code` and print no data."""
        assert (self.code, self.out) == (code, ""), self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("imcsim: error: "), self.err
        return lines[0].removeprefix("imcsim: error: ")

    def misused(self) -> str:
        """The words of a call that click itself refuses."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("Usage: "), self.err
        return self.err


def imcsim(*arguments: str | Path) -> Called:
    """``imcsim ARGUMENTS``"""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["imcsim", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
        code: int | str | None = 0
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = argv
    assert isinstance(code, int)
    return Called(code, out.getvalue(), err.getvalue())


def run_digits(*arguments: str | Path) -> Called:
    """``imcsim run`` of few images of the small workload."""
    return imcsim("run", ARCH, DIGITS, *QUICK, *arguments)
