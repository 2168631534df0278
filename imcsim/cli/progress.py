"""A progress bar on stderr; silent where stderr is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from imcsim.simulator.run import Progress as RunProgress


class StageProgress(RunProgress):
    """One line per stage; stages that count images show a bar."""

    def __init__(self) -> None:
        # Of a program started with stderr closed (2>&-), Python makes sys.stderr None.
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), console=Console(file=sys.stderr), transient=True,
            disable=not terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> StageProgress:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An older rich writes an empty line when a disabled bar stops.
        if not self._bar.disable:
            self._bar.stop()

    def stage(self, name: str, total: int = 0) -> None:
        self._bar.reset(self._task, description=name, total=total or None)

    def advance(self, images: int) -> None:
        self._bar.advance(self._task, images)
