"""``imcsim train``: recipe and data in, workload, log and learning curves out."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imcsim.errors import ImcsimError, UsageError
from imcsim.network.workload import Workload, read_workload, write_workload
from imcsim.simulator.run import Progress
from imcsim.training.curves import write_curves
from imcsim.training.data import read_training_data
from imcsim.training.recipe import Recipe
from imcsim.training.session import TrainingSession

CHECKPOINT_EVERY_S = 60.0
"""A training that is killed loses at most so much (or one epoch, if that takes longer)."""


@dataclass(frozen=True)
class Files:
    """What a training writes, all beside the workload."""

    workload: Path

    @property
    def checkpoint(self) -> Path:
        return self.workload.with_suffix(".checkpoint.pt")

    @property
    def log(self) -> Path:
        return self.workload.with_suffix(".log.csv")

    @property
    def curves(self) -> Path:
        return self.workload.with_suffix(".curves.png")


def train(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    out: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    baseline: Path | None = None,
    device: str = "auto",
    stop_after_s: float | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Workload | None:
    """Train a network and write its workload to `out`.

    Beside it stand a checkpoint, a log (CSV, one row per epoch) and the learning curves (PNG).

    Parameters
    ----------
    folder
        Where the data set lies.
    resume
        Go on from the checkpoint beside `out`; on a CPU with as many threads, the result is that of
        an uninterrupted training bit for bit.
    start_from
        Another training's checkpoint, whose weights this one begins with.
    baseline
        Workload of another network, whose accuracy θ is calibrated for a second time
        (`export_workload`).
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU if torch finds one.
    stop_after_s
        Stop after the epoch in which so many seconds have passed, to be resumed.
    provenance
        Added to what the workload says of its origin.
    on_epoch
        Told of each new row of the log.

    Returns
    -------
    Workload or None
        None if `stop_after_s` ended the training early.

    Raises
    ------
    UsageError, InputFileError
        If recipe, data, checkpoint or device cannot be used.
    ImcsimError
        If the loss is no number any more, or a file cannot be written.
    """
    started = time.monotonic()
    files = Files(out)
    progress = Progress() if progress is None else progress
    _check_paths(files, resume, start_from)
    where = device_named(device)
    compared = None if baseline is None else read_workload(baseline)
    progress.stage("reading the data set")
    session = TrainingSession(recipe, read_training_data(recipe, folder), where)
    if start_from is not None:
        session.start_from(start_from)
    if resume:
        session.resume(files.checkpoint)
    if not _run_epochs(session, files, progress, on_epoch, started, stop_after_s):
        return None
    progress.stage("exporting the workload")
    made = {"device": _device_name(where), "torch": torch.__version__}
    workload = session.export({**made, **(provenance or {})}, compared)
    write_workload(out, workload)
    write_curves(files.curves, session.state.log, recipe)
    return workload


def _run_epochs(
    session: TrainingSession,
    files: Files,
    progress: Progress,
    on_epoch: Callable[[dict[str, Any]], None] | None,
    started: float,
    stop_after_s: float | None,
) -> bool:
    """Train to the end, or until the time is over; say whether it is the end."""
    saved = time.monotonic()
    while not session.is_finished():
        with _convolutions(session.device):
            row = session.run_epoch(progress)
        write_log(files.log, session.state.log)
        if on_epoch is not None:
            on_epoch(row)
        now = time.monotonic()
        stops = stop_after_s is not None and now - started >= stop_after_s
        if stops or session.is_finished() or now - saved >= CHECKPOINT_EVERY_S:
            session.save(files.checkpoint)
            saved = now
        if stops and not session.is_finished():
            return False
    return True


def _convolutions(device: torch.device) -> AbstractContextManager[object]:
    """On a GPU, cuDNN tries its algorithms and keeps the fastest: much faster, but which one it is,
    and so the last bit of a gradient, can differ between two trainings.
    """
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[object] = torch.backends.cudnn.flags(  # type: ignore[no-untyped-call]
        enabled=True, benchmark=True, deterministic=False, allow_tf32=True
    )
    return flags


def _check_paths(files: Files, resume: bool, start_from: Path | None) -> None:
    """Refuse what would fail, or destroy hours of work, before any work is done."""
    if not files.workload.parent.is_dir():
        raise ImcsimError(f"{files.workload}: its folder does not exist")
    if files.workload.suffix != ".npz":
        raise UsageError(f"{files.workload}: the name of a workload ends in .npz")
    if files.workload.is_dir():
        raise UsageError(f"{files.workload}: is a folder, not a workload")
    if resume and start_from is not None:
        raise UsageError("--resume and --start-from exclude each other")
    if not resume and files.checkpoint.exists():
        raise UsageError(
            f"{files.checkpoint}: an earlier training stands here; go on with --resume, or move "
            "the file away"
        )


def device_named(name: str) -> torch.device:
    """``cpu``, ``cuda`` or ``auto``.

    Raises
    ------
    UsageError
        If torch finds no GPU, and one is asked for.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UsageError("--device cuda: torch finds no GPU (see pytorch.org for a CUDA build)")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one CSV row per epoch, whole or not at all.

    Raises
    ------
    ImcsimError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text.getvalue(), "utf-8")
        draft.replace(path)
    except OSError as exc:
        with suppress(OSError):
            draft.unlink()
        raise ImcsimError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
