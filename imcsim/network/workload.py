"""The workload file: a network, the images it is evaluated and calibrated on, and what the
reference made of some.

Format ``imcsim-workload/1`` (docs/design.md, "Files"): an ``.npz`` without pickles whose ``meta``
is JSON.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imcsim.errors import WorkloadError
from imcsim.network.build import (
    Dimension,
    LayerSpec,
    Name,
    build_network,
    check_array,
    derive_layers,
    expected_arrays,
    image_range,
    spec_of,
)
from imcsim.network.layers import Network, Neuron
from imcsim.network.npz import Header, NpzFile, write_npz

FORMAT = "imcsim-workload/1"
_MAX_META_BYTES = 2**24

Accumulate = Literal["sum", "mean"]
Policy = Literal["entropy", "confidence", "margin"]
Theta = float | list[float]
"""One value, or one per timestep."""


class NeuronMeta(BaseModel):
    """The neuron as `meta` says it; see `Neuron`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    leak_multiplier: int = Field(ge=1, le=1 << 16)
    leak_shift: int = Field(ge=0, le=16)
    reset: Literal["hard", "soft"]
    fraction_bits: int = Field(ge=0, le=16)
    membrane_bits: int = Field(ge=4, le=32)


class Meta(BaseModel):
    """The JSON object ``meta``."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["imcsim-workload/1"]
    name: Name
    image_shape: list[Dimension] = Field(min_length=3, max_length=3)
    classes: int = Field(ge=2, le=65536)
    timesteps: int = Field(ge=1, le=4096)
    encoding: Literal["direct", "events"]
    neuron: NeuronMeta
    layers: list[LayerSpec] = Field(min_length=1, max_length=4096)
    logit_scale: float = Field(gt=0)
    theta: dict[Policy, dict[Accumulate, Theta]]
    accumulate: Accumulate
    policy: Literal["static", "entropy", "confidence", "margin", "oracle"]
    accuracies: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Workload:
    """A network with everything a run needs. Arrays are read-only."""

    network: Network
    images: npt.NDArray[np.uint8]
    """(n, c, h, w), or event frames (n, t, c, h, w); test split."""
    labels: npt.NDArray[np.int64]
    """(n,)."""
    calibration_images: npt.NDArray[np.uint8]
    """Like `images`; ADC ranges come from these, never from evaluated images."""
    calibration_labels: npt.NDArray[np.int64]
    golden_logits: npt.NDArray[np.int32]
    """(g, t, classes): the reference's class scores of each timestep alone; the first g images."""
    theta: dict[str, dict[str, Theta]] = field(default_factory=dict)
    """Calibrated thresholds, ``theta[policy]["sum" | "mean"]``: a number, or one per timestep."""
    accumulate: Accumulate = "sum"
    """Default readout over timesteps."""
    policy: str = "entropy"
    """Default exit policy."""
    accuracies: dict[str, Any] = field(default_factory=dict)
    """What was measured when the workload was made."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights and images come from."""
    sha256: str = ""
    """Of the file, in hexadecimal; empty if the workload was not read from one."""

    @property
    def name(self) -> str:
        return self.network.name


def read_workload(path: str | os.PathLike[str]) -> Workload:
    """Read and check a workload file.

    Raises
    ------
    WorkloadError
        One line with the file, the key and the reason: whatever can be wrong with the file.
    """
    try:
        with open(path, "rb") as file:
            sha256 = _sha256(file)
            return _read(file, sha256)
    except OSError as exc:
        raise WorkloadError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except WorkloadError as exc:
        raise WorkloadError(f"{path}: {exc}") from exc


def _sha256(file: BufferedReader) -> str:
    if not file.read(1):
        raise WorkloadError("the file is empty")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def _read(file: IO[bytes], sha256: str) -> Workload:
    npz = NpzFile(file)
    meta = _read_meta(npz)
    channels, height, width = meta.image_shape
    image_shape = (channels, height, width)
    _require(npz, "input_table")
    check_array("input_table", npz.headers["input_table"], np.int8, (channels, 256))
    input_table = npz.read("input_table")
    # All shapes follow from meta, so every header is judged before its array is read.
    layers = derive_layers(image_shape, image_range(input_table), meta.layers)
    expected = expected_arrays(layers)
    _check_keys(npz, [*_FIXED_KEYS, *expected])
    for key, (dtype, shape) in expected.items():
        check_array(key, npz.headers[key], dtype, shape)
    network = build_network(
        name=meta.name,
        image_shape=image_shape,
        classes=meta.classes,
        timesteps=meta.timesteps,
        encoding=meta.encoding,
        neuron=Neuron(**meta.neuron.model_dump()),
        input_table=input_table,
        logit_scale=meta.logit_scale,
        specs=meta.layers,
        arrays={key: npz.read(key) for key in expected},
    )
    _check_data_headers(npz.headers, network)
    workload = Workload(
        network=network,
        **{key: npz.read(key) for key in _DATA_KEYS},
        theta={name: {str(k): v for k, v in values.items()} for name, values in meta.theta.items()},
        accumulate=meta.accumulate,
        policy=meta.policy,
        accuracies=meta.accuracies,
        provenance=meta.provenance,
        sha256=sha256,
    )
    _check_data(workload)
    return workload


_DATA_KEYS = ("images", "labels", "calibration_images", "calibration_labels", "golden_logits")
_FIXED_KEYS = ("meta", "input_table", *_DATA_KEYS)


def _require(npz: NpzFile, key: str) -> None:
    if key not in npz.headers:
        raise WorkloadError(f"{key}: missing")


def _check_keys(npz: NpzFile, expected: list[str]) -> None:
    extra = sorted(npz.headers.keys() - set(expected))
    if extra:
        raise WorkloadError(f"{extra[0]}: unexpected key{_did_you_mean(extra[0], expected)}")
    for key in expected:
        _require(npz, key)


def _did_you_mean(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _read_meta(npz: NpzFile) -> Meta:
    if "meta" not in npz.headers:
        raise WorkloadError("meta: missing (is this a workload file?)")
    dtype, shape = npz.headers["meta"]
    if dtype.kind not in "SU" or shape != ():
        raise WorkloadError(f"meta: a single string expected, found shape {shape} of {dtype}")
    if dtype.itemsize > _MAX_META_BYTES:
        raise WorkloadError(f"meta: {dtype.itemsize} bytes is absurdly large")
    try:
        said = json.loads(npz.read("meta").item(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise WorkloadError(f"meta: not JSON ({exc})") from exc
    return _check_meta(said)


def _check_meta(said: object) -> Meta:
    if not isinstance(said, dict):
        raise WorkloadError(f"meta: a JSON object expected, found {type(said).__name__}")
    version = said.get("format")
    if version != FORMAT:
        raise WorkloadError(
            f"meta: format: unknown version {version!r:.80}, this program reads {FORMAT!r}"
        )
    try:
        return Meta.model_validate(said)
    except ValidationError as exc:
        raise WorkloadError(_first_fault(exc)) from exc


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _first_fault(exc: ValidationError) -> str:
    fault = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]).encode("unicode_escape").decode()[:200]
    if fault["type"] == "extra_forbidden":
        known = [*Meta.model_fields, *LayerSpec.model_fields, *NeuronMeta.model_fields]
        return f"meta: {where}: unexpected key{_did_you_mean(str(fault['loc'][-1]), known)}"
    if fault["type"] == "missing":
        return f"meta: {where}: missing"
    return f"meta: {where}: {fault['msg']} (found {fault['input']!r:.80})"


def _check_data_headers(headers: Mapping[str, Header], network: Network) -> None:
    """Judge images, labels and golden logits by their headers."""
    frames = (network.timesteps,) if network.encoding == "events" else ()
    for prefix in ("", "calibration_"):
        key = f"{prefix}images"
        found = headers[key]
        count = found[1][0] if found[1] else 0
        check_array(key, found, np.uint8, (count, *frames, *network.image_shape))
        if count < 1:
            raise WorkloadError(f"{key}: there are none")
        check_array(f"{prefix}labels", headers[f"{prefix}labels"], np.int64, (count,))
    images = headers["images"][1][0]
    found = headers["golden_logits"]
    golden = found[1][0] if found[1] else 0
    check_array("golden_logits", found, np.int32, (golden, network.timesteps, network.classes))
    if not 1 <= golden <= images:
        raise WorkloadError(f"golden_logits: {golden} rows for {images} images")


def _check_data(workload: Workload) -> None:
    classes, timesteps = workload.network.classes, workload.network.timesteps
    for key in ("labels", "calibration_labels"):
        labels = getattr(workload, key)
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise WorkloadError(
                f"{key}: {labels.min()}..{labels.max()} found, there are {classes} classes"
            )
    for policy, by_sum in workload.theta.items():
        for accumulate, theta in by_sum.items():
            if isinstance(theta, list) and len(theta) != timesteps:
                raise WorkloadError(
                    f"meta: theta.{policy}.{accumulate}: "
                    f"{len(theta)} values for {timesteps} timesteps"
                )


def write_workload(path: str | os.PathLike[str], workload: Workload) -> None:
    """Write a workload file atomically; equal workloads give equal bytes.

    Raises
    ------
    WorkloadError
        If `read_workload` would refuse the file, or the file cannot be written.
    """
    data = {key: getattr(workload, key) for key in _DATA_KEYS}
    try:
        meta = json.dumps(_meta_of(workload), sort_keys=True, allow_nan=False)
        _check_meta(json.loads(meta))
        headers = {key: (array.dtype, array.shape) for key, array in data.items()}
        _check_data_headers(headers, workload.network)
        _check_data(workload)
    except (TypeError, ValueError) as exc:
        raise WorkloadError(f"{Path(path)}: meta: not JSON ({exc})") from exc
    except WorkloadError as exc:
        raise WorkloadError(f"{Path(path)}: {exc}") from exc
    arrays: dict[str, npt.NDArray[Any]] = {
        "meta": np.array(meta),
        "input_table": workload.network.input_table,
        **_layer_arrays(workload.network),
        **data,
    }
    try:
        write_npz(path, arrays)
    except OSError as exc:
        raise WorkloadError(f"{Path(path)}: cannot be written ({exc.strerror or exc})") from exc


def _layer_arrays(network: Network) -> Mapping[str, npt.NDArray[Any]]:
    arrays = {}
    for key in expected_arrays(network.layers):
        prefix, name = key.split(".")
        arrays[key] = getattr(network.layers[int(prefix[1:])], name)
    return arrays


def _meta_of(workload: Workload) -> dict[str, Any]:
    network, neuron = workload.network, workload.network.neuron
    return {
        "format": FORMAT,
        "name": network.name,
        "image_shape": list(network.image_shape),
        "classes": network.classes,
        "timesteps": network.timesteps,
        "encoding": network.encoding,
        "neuron": {
            "leak_multiplier": neuron.leak_multiplier,
            "leak_shift": neuron.leak_shift,
            "reset": neuron.reset,
            "fraction_bits": neuron.fraction_bits,
            "membrane_bits": neuron.membrane_bits,
        },
        "layers": [spec_of(layer).model_dump(exclude_defaults=True) for layer in network.layers],
        "logit_scale": network.logit_scale,
        "theta": workload.theta,
        "accumulate": workload.accumulate,
        "policy": workload.policy,
        "accuracies": workload.accuracies,
        "provenance": workload.provenance,
    }
