"""Read a finished run; whatever is wrong with its directory becomes one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import yaml

from imcsim.errors import RunError, WorkloadError
from imcsim.network.npz import NpzFile
from imcsim.results.contents import (
    CONFIG,
    IMAGE_COLUMNS,
    IMAGES_FILE,
    LAYER_COLUMNS,
    LAYER_TEXTS,
    LAYERS_FILE,
    PROVENANCE,
    STEPS,
    STEPS_FILE,
    SUMMARY,
    Config,
    ContentsError,
    Summary,
    check,
    check_agreement,
    check_finite,
    check_steps,
    check_table,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, read back from its directory."""

    directory: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    provenance: dict[str, Any]
    steps: dict[str, npt.NDArray[Any]]
    """Arrays of ``steps.npz``, see `imcsim.results.contents.STEPS`."""
    _held: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    """Tables that were read before the directory got its name, by file name."""

    @property
    def name(self) -> str:
        return self.directory.resolve().name

    def images(self) -> pd.DataFrame:
        """One row per image."""
        table = self._table(IMAGES_FILE, IMAGE_COLUMNS, ())
        if len(table) != self.summary["images"]:
            raise RunError(
                f"{self.directory / IMAGES_FILE}: {len(table)} rows for "
                f"{self.summary['images']} images"
            )
        return table

    def layers(self) -> pd.DataFrame:
        """One row per layer."""
        return self._table(LAYERS_FILE, LAYER_COLUMNS, LAYER_TEXTS)

    def moved_to(self, directory: Path) -> Run:
        """The same run with its tables in memory, for a directory that is about to be renamed: from
        then on nothing is read from a place that another process may replace."""
        held = {IMAGES_FILE: self.images(), LAYERS_FILE: self.layers()}
        return replace(self, directory=directory, _held=held)

    def _table(self, name: str, numbers: tuple[str, ...], words: tuple[str, ...]) -> pd.DataFrame:
        import pandas as pd

        if name in self._held:
            return self._held[name].copy()
        path = self.directory / name
        try:
            # A layer may be called "NA" or "1".
            table = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(words, str))
            check_table(table, numbers, words)
        except (OSError, ValueError) as exc:
            raise _unreadable(path, exc) from exc
        return table


def read_run(directory: str | os.PathLike[str]) -> Run:
    """Read a finished run.

    Raises
    ------
    RunError
        If there is none, it is unfinished, or a file in it is damaged.
    """
    directory = Path(directory)
    _check_is_run(directory)
    config = _read(directory / CONFIG, lambda text: check(yaml.safe_load(text), Config))
    summary = _read(directory / SUMMARY, lambda text: _summary(text, config))
    return Run(
        directory=directory,
        summary=summary,
        config=config,
        provenance=_read(directory / PROVENANCE, _object),
        steps=_arrays(directory / STEPS_FILE, config["run"]),
    )


def _check_is_run(directory: Path) -> None:
    try:
        if not directory.is_dir():
            what = "is a file, not a run directory" if directory.exists() else "no such directory"
            raise RunError(f"{directory}: {what}")
        if (directory / SUMMARY).is_file():
            return
        runs = sorted(path.parent.name for path in _finished(directory))
    except OSError as exc:
        raise _unreadable(directory, exc) from exc
    hint = f"; it holds runs, the last one is {directory / runs[-1]}" if runs else ""
    raise RunError(f"{directory}: not a finished run ({SUMMARY} is missing{hint})")


def _summary(text: str, config: dict[str, Any]) -> dict[str, Any]:
    summary = check(json.loads(text), Summary)
    check_agreement(config, summary)
    return summary


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ContentsError(f"an object is expected, found {type(value).__name__}")
    return value


def _read(path: Path, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as exc:
        raise _unreadable(path, exc) from exc


def _arrays(path: Path, options: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            npz = NpzFile(file)
            check_steps(npz.headers, options)
            arrays = {key: npz.read(key) for key in STEPS}
            check_finite(arrays)
    except (OSError, ContentsError, WorkloadError) as exc:
        raise _unreadable(path, exc) from exc
    return arrays


def _unreadable(path: Path, exc: BaseException) -> RunError:
    """Say in one line why a file cannot be used."""
    if isinstance(exc, FileNotFoundError):
        return RunError(f"{path}: missing")
    if isinstance(exc, ContentsError):
        return RunError(f"{path}: {' '.join(str(exc).split())}")
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return RunError(f"{path}: damaged ({' '.join(reason.split())[:200] or type(exc).__name__})")


def newest_run(parent: Path) -> Path:
    """The run in `parent` that was finished last.

    Raises
    ------
    RunError
        If there is none.
    """
    try:
        finished = [(path.stat().st_mtime_ns, path.parent.name) for path in _finished(parent)]
    except OSError as exc:
        raise _unreadable(parent, exc) from exc
    if not finished:
        raise RunError(
            f"no finished run in {parent}/ (make one with: imcsim run ARCH WORKLOAD, "
            "or name its directory)"
        )
    return parent / max(finished)[1]


def _finished(parent: Path) -> list[Path]:
    """Summaries of the runs in `parent`; hidden directories are runs being written."""
    return [path for path in parent.glob(f"*/{SUMMARY}") if not path.parent.name.startswith(".")]
