"""The run directory: everything a report needs, written completely or not at all.

``summary.json`` is written last; the directory appears under its name only when it is finished.
No times and no paths stand in anything but ``provenance.json``, so two equal runs can be compared
with ``diff -r``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from imcsim.chip import resolved
from imcsim.errors import ImcsimError, UsageError
from imcsim.network.npz import write_npz
from imcsim.results.contents import (
    ACTIVITY_FILE,
    CONFIG,
    IMAGES_FILE,
    LAYERS_FILE,
    PROVENANCE,
    RUN_FORMAT,
    STEPS_FILE,
    SUMMARY,
)
from imcsim.results.read import Run, read_run
from imcsim.results.tables import images_table, layers_table
from imcsim.simulator import RunResult

EDP_FIGURES = ("edp.png", "edp.svg")
"""Drawn into the directory by a report, and gone with the run when another replaces it."""

_OWN = {
    SUMMARY, CONFIG, PROVENANCE, STEPS_FILE, ACTIVITY_FILE, IMAGES_FILE, LAYERS_FILE, *EDP_FIGURES,
}  # fmt: skip


def write_run(directory: Path, result: RunResult, provenance: dict[str, Any]) -> Run:
    """Write a run; an older run under the same name is replaced.

    Returns
    -------
    Run
        What was written, tables included. It was read back before the directory got its name, so
        it stays this run even if another process replaces the directory at once.

    Raises
    ------
    UsageError
        If the directory exists and holds anything else than a run.
    ImcsimError
        If it cannot be written.
    """
    check_target(directory)
    target = _target(directory)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _write_files(part, result, provenance)
        written = read_run(part).moved_to(directory)
        _replace(part, target)
    except OSError as exc:
        raise _unwritable(directory, exc) from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return written


def check_target(directory: Path) -> None:
    """Refuse, before a long computation too, a directory that a run may not or cannot replace.

    Raises
    ------
    UsageError
        If it exists and holds anything else than a run: replacing it would lose that.
    ImcsimError
        If it cannot be written.
    """
    target = _target(directory)
    try:
        if target.is_dir():
            _check_replaceable(directory, target)
        elif target.exists():
            raise UsageError(f"--out {directory}: exists and is not a directory")
        parent = next(folder for folder in target.parents if folder.exists())
    except OSError as exc:
        raise _unwritable(directory, exc) from exc
    if not parent.is_dir():
        raise ImcsimError(f"{directory}: cannot be written ({parent} is not a directory)")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ImcsimError(f"{directory}: cannot be written (no permission to write in {parent})")


def _target(directory: Path) -> Path:
    """Absolute and without links, so that the place beside it is on the same file system."""
    return Path(os.path.realpath(directory))


def _unwritable(directory: Path, exc: OSError) -> ImcsimError:
    return ImcsimError(f"{directory}: cannot be written ({exc.strerror or exc})")


def _check_replaceable(directory: Path, target: Path) -> None:
    names = sorted(path.name for path in target.iterdir())
    if not names:
        return
    if CONFIG not in names or not _is_run_config(target / CONFIG):
        raise UsageError(f"--out {directory}: exists and is not a run directory")
    for name in names:
        if name not in _OWN:
            raise UsageError(
                f"--out {directory}: holds {name}, which is not part of a run and would be lost"
            )


def _is_run_config(path: Path) -> bool:
    """By its first line, which says the format."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(100).strip() == f"format: {RUN_FORMAT}"
    except OSError:
        return False


def _replace(part: Path, target: Path) -> None:
    if not target.exists():
        part.rename(target)
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        part.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_files(part: Path, result: RunResult, provenance: dict[str, Any]) -> None:
    config = yaml.safe_dump(_config(result), sort_keys=False, allow_unicode=True)
    _write_text(part / CONFIG, config)
    _write_text(part / PROVENANCE, json.dumps(provenance, indent=1) + "\n")
    images_table(result).to_csv(part / IMAGES_FILE, index=False, lineterminator="\n")
    layers_table(result).to_csv(part / LAYERS_FILE, index=False, lineterminator="\n")
    write_npz(part / STEPS_FILE, _steps(result))
    write_npz(part / ACTIVITY_FILE, result.activity.arrays())
    summary = json.dumps(result.summary(), indent=1, allow_nan=False)
    _write_text(part / SUMMARY, summary + "\n")


def _write_text(path: Path, text: str) -> None:
    """The same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _config(result: RunResult) -> dict[str, Any]:
    network = result.mapping.network
    return {
        "format": RUN_FORMAT,
        "run": {
            "workload": network.name,
            "images": result.images,
            "timesteps": result.timesteps,
            "policy": result.policy.name,
            "theta": list(result.policy.theta),
            "accumulate": result.accumulate,
            "seed": result.seed,
            "static": result.static is not None,
            "classes": network.classes,
            "logit_scale": network.logit_scale,
        },
        "arch": resolved(result.mapping.chip),
    }


def _steps(result: RunResult) -> dict[str, npt.NDArray[Any]]:
    """As `imcsim.results.contents.STEPS` says."""
    return {
        "logits": result.logits,
        "labels": result.labels,
        "energy_j": result.step_energy_j,
        "once_energy_j": result.once_energy_j,
        "cycles": np.array(result.timing.step_cycles, np.int64) * result.activity.alive(),
        "once_cycles": np.array(result.timing.once_cycles, np.int64),
        "simulated": result.activity.simulated,
        "sigma_e_energy_j": np.array(result.sigma_e_energy_j),
        "sigma_e_cycles": np.array(result.sigma_e_cycles, np.int64),
    }
