"""Checkpoints: everything that the rest of a training depends on, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from imcsim.errors import ImcsimError, InputFileError

FORMAT = "imcsim-checkpoint/1"


@dataclass
class TrainingState:
    """Where a training stands. Optimizer and weights are those at the end of an epoch."""

    recipe: str
    """`recipe_hash`."""
    data: dict[str, str]
    """SHA-256 of the splits."""
    stage: int = 0
    epoch: int = 0
    """Epochs of `stage` that are done."""
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] | None = None
    """None at the beginning of a stage."""
    best_score: float = -1.0
    """Held-out accuracy of `best_model`, which is the last stage's best epoch so far."""
    best_epoch: int = 0
    best_model: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    """One row per epoch."""
    started_from: str = ""
    """SHA-256 of the checkpoint whose weights the training began with, if any."""


def save(path: Path, state: TrainingState) -> None:
    """Write atomically: a training that is killed leaves the older checkpoint.

    Raises
    ------
    ImcsimError
        If the file cannot be written.
    """
    # In memory first: torch writes to a full disk with an error that does not say so.
    buffer = io.BytesIO()
    # Not `asdict`, which copies every tensor.
    torch.save({"format": FORMAT, **vars(state)}, buffer)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                file.write(buffer.getbuffer())
                file.close()
                os.replace(file.name, path)
            except BaseException:
                file.close()
                os.unlink(file.name)
                raise
    except OSError as exc:
        raise ImcsimError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


def load(path: Path, device: torch.device) -> TrainingState:
    """Read a checkpoint; no pickled code is run.

    Raises
    ------
    InputFileError
        If the file is missing, damaged or something else.
    """
    try:
        said = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as exc:
        raise InputFileError(f"{path}: there is no such checkpoint") from exc
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as exc:
        reason = str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__
        raise InputFileError(f"{path}: not a checkpoint, or a damaged one ({reason})") from exc
    if not isinstance(said, dict) or said.pop("format", None) != FORMAT:
        raise InputFileError(f"{path}: not a checkpoint of format {FORMAT}")
    try:
        return TrainingState(**said)
    except TypeError as exc:
        raise InputFileError(f"{path}: a damaged checkpoint ({exc})") from exc


def check_same(path: Path, state: TrainingState, recipe: str, data: dict[str, str]) -> None:
    """Refuse a checkpoint of another training.

    Raises
    ------
    InputFileError
        Naming what differs.
    """
    for what, then, now in (("recipe", state.recipe, recipe), ("data set", state.data, data)):
        if then != now:
            raise InputFileError(f"{path}: the checkpoint belongs to another {what}")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
