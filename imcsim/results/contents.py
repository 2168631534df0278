"""What the files of a run directory must hold before a report may rely on them.

Only what reports read is judged, so a later version may add to every file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    import pandas as pd

RUN_FORMAT = "imcsim-run/1"

SUMMARY, CONFIG, PROVENANCE = "summary.json", "config.yaml", "provenance.json"
STEPS_FILE, ACTIVITY_FILE = "steps.npz", "activity.npz"
IMAGES_FILE, LAYERS_FILE = "images.csv", "layers.csv"


class ContentsError(ValueError):
    """A file of a run does not hold what it must; the message starts with the key."""


class _Contents(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _Options(_Contents):
    workload: str
    images: int = Field(ge=1)
    timesteps: int = Field(ge=1)
    policy: Literal["static", "entropy", "confidence", "margin", "oracle"]
    theta: list[float]
    accumulate: Literal["sum", "mean"]
    seed: int
    static: bool
    classes: int = Field(ge=1)
    logit_scale: float = Field(gt=0)


class _Clock(_Contents):
    clock_hz: float = Field(gt=0)


class _SigmaE(_Contents):
    sigma_lut_bytes: int = Field(ge=1)
    entropy_lut_bytes: int = Field(ge=1)


class _Arch(_Contents):
    name: str
    chip: _Clock
    sigma_e: _SigmaE


class Config(_Contents):
    """``config.yaml``"""

    format: str
    run: _Options
    arch: _Arch


class _Outcome(_Contents):
    accuracy: float = Field(ge=0, le=1)
    timesteps_mean: float = Field(ge=1)
    timesteps_histogram: list[int]
    images: int = Field(ge=1)
    energy_j: float = Field(gt=0)
    latency_s: float = Field(gt=0)
    edp_js: float = Field(gt=0)
    area_m2: float = Field(gt=0)
    energy_by_component_j: dict[str, float]
    latency_cycles: float = Field(gt=0)
    clock_hz: float = Field(gt=0)
    crossbars: int
    tiles: int
    theta: float | list[float] | None
    seed: int


class _Correction(_Contents):
    images: int
    channels: dict[str, Any] | None
    theta: float | None


class Summary(_Outcome):
    """``summary.json``"""

    static: _Outcome | None
    correction: _Correction | None = None


# Dimensions: n images, t timesteps, k classes.
STEPS: Mapping[str, tuple[str, str]] = {
    "logits": ("int32", "ntk"),
    "labels": ("int64", "n"),
    "energy_j": ("float64", "nt"),
    "once_energy_j": ("float64", "n"),
    "cycles": ("int64", "nt"),
    "once_cycles": ("int64", ""),
    "simulated": ("int64", "n"),
    "sigma_e_energy_j": ("float64", ""),
    "sigma_e_cycles": ("int64", ""),
}
"""Arrays of ``steps.npz``: dtype and dimensions."""

IMAGE_COLUMNS = (
    "image", "label", "prediction", "timesteps", "entropy", "confidence", "margin", "energy_j",
    "latency_s", "edp_js",
)  # fmt: skip
"""Columns of ``images.csv``; all are numbers."""

LAYER_COLUMNS = (
    "crossbars", "tiles", "input_bits", "reads_per_timestep", "utilisation", "neurons",
    "firing_rate", "saturations", "first_cycle", "last_cycle", "occupancy", "energy_j",
)  # fmt: skip
"""Columns of ``layers.csv`` that are numbers."""

LAYER_TEXTS = ("layer", "kind", "adc_step_levels", "bound_by")
"""Columns of ``layers.csv`` that are words."""


def check(value: object, model: type[_Contents]) -> dict[str, Any]:
    """Judge a parsed file and return it unchanged.

    Raises
    ------
    ContentsError
        At the first key that is missing or wrong.
    """
    if not isinstance(value, dict):
        raise ContentsError(f"an object is expected, found {type(value).__name__}")
    said = value.get("format", RUN_FORMAT)
    if model is Config and said != RUN_FORMAT:
        raise ContentsError(f"unknown format {said!r:.80}, this program reads {RUN_FORMAT!r}")
    try:
        model.model_validate(value)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        found = "" if fault["type"] == "missing" else f" (found {fault['input']!r:.80})"
        reason = "missing" if fault["type"] == "missing" else fault["msg"]
        raise ContentsError(f"{where}: {reason}{found}") from exc
    return value


def check_agreement(config: dict[str, Any], summary: dict[str, Any]) -> None:
    """The summary must be about the images and timesteps of the configuration.

    Raises
    ------
    ContentsError
        If it is not.
    """
    images, timesteps = config["run"]["images"], config["run"]["timesteps"]
    if (summary["static"] is not None) != config["run"]["static"]:
        raise ContentsError("static: the configuration says otherwise")
    for name, outcome in (("", summary), ("static.", summary["static"])):
        if outcome is None:
            continue
        histogram = outcome["timesteps_histogram"]
        if outcome["images"] != images or sum(histogram) != images or len(histogram) != timesteps:
            raise ContentsError(
                f"{name}timesteps_histogram: {images} images over {timesteps} timesteps expected"
            )
    if summary["static"] is not None:
        parts = [outcome["energy_by_component_j"] for outcome in (summary, summary["static"])]
        if set(parts[0]) != set(parts[1]):
            raise ContentsError("static.energy_by_component_j: other components than the dynamic")


def check_steps(
    headers: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], options: dict[str, Any]
) -> None:
    """Judge the arrays of ``steps.npz`` by their headers, before they are read.

    Raises
    ------
    ContentsError
        At the first array that is missing or of another dtype or shape.
    """
    sizes = {"n": options["images"], "t": options["timesteps"], "k": options["classes"]}
    for key, (dtype, dimensions) in STEPS.items():
        if key not in headers:
            raise ContentsError(f"{key}: missing")
        shape = tuple(sizes[d] for d in dimensions)
        if headers[key] != (np.dtype(dtype), shape):
            found, wrong = headers[key]
            raise ContentsError(f"{key}: {dtype} {shape} expected, found {found} {wrong}")


def check_finite(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    ContentsError
        At the first array that holds one.
    """
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ContentsError(f"{key}: not all values are finite")


def check_table(table: pd.DataFrame, numbers: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Judge a table by its columns.

    Raises
    ------
    ContentsError
        If there is no row, or a column is missing or holds something else than numbers.
    """
    for name in (*words, *numbers):
        if name not in table.columns:
            raise ContentsError(f"{name}: this column is missing")
    for name in numbers:
        if table[name].dtype.kind not in "iuf" or not np.isfinite(table[name]).all():
            raise ContentsError(f"{name}: not all values of this column are numbers")
    if not len(table):
        raise ContentsError("there are no rows")
