"""What a run is asked to do, checked against the workload before anything is computed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.errors import UsageError
from imcsim.functional.exits import THRESHOLD_POLICIES, ExitPolicy
from imcsim.network.workload import Accumulate, Workload

DEFAULT_IMAGES = 256
DEFAULT_MEMORY_BYTES = 1 << 30
LARGEST_TIMESTEPS = 4096


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; None means the workload's default."""

    images: int | None = None
    """First images of the data to evaluate; default 256, or all if there are fewer."""
    timesteps: int | None = None
    """T: fixed timesteps of the static baseline, upper limit of the dynamic run."""
    policy: str | None = None
    theta: float | tuple[float, ...] | None = None
    static: bool = True
    """Simulate all timesteps of all images, so that the static baseline and every other θ come from
    the same pass."""
    seed: int = 0
    """Chip instance: seeds every draw of device variation."""
    jobs: int | None = None
    """Worker threads; default one per processor. No influence on results."""
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    """Budget of the working memory of all batches. No influence on results."""
    verify: bool = False
    """First compare an idealised copy of the chip with the numpy reference."""


@dataclass(frozen=True, eq=False)
class ResolvedOptions:
    """The same with every default filled in, and the images to run."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    timesteps: int
    policy: ExitPolicy
    theta_given: bool
    """Whether the policy's threshold was asked for, and is not the workload's."""
    accumulate: Accumulate
    static: bool
    seed: int
    jobs: int
    memory_bytes: int


def resolve(
    options: RunOptions,
    workload: Workload,
    data: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None,
) -> ResolvedOptions:
    """Fill in defaults from the workload.

    Parameters
    ----------
    data : images and labels to evaluate instead of the workload's.

    Raises
    ------
    UsageError
        An option is out of range, or does not suit the workload.
    """
    options = _whole_numbers(options)
    _check_theta(options.theta)
    if not isinstance(options.policy, str | None):
        raise UsageError(f"--exit {_short(options.policy)}: must be the name of an exit policy")
    images, labels = _pair(data) if data is not None else (workload.images, workload.labels)
    _check_data(images, labels, workload)
    count = _count(options.images, len(images))
    timesteps = _timesteps(options.timesteps, workload)
    policy = _policy(options, workload, timesteps)
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: must be at least 1")
    if not 0 <= options.seed < 1 << 64:
        raise UsageError(f"--seed {options.seed}: must be 0 to 2^64 − 1")
    if options.memory_bytes < 1:
        raise UsageError(f"--memory {options.memory_bytes}: must be at least 1 byte")
    return ResolvedOptions(
        images=images[:count],
        labels=labels[:count],
        timesteps=timesteps,
        policy=policy,
        theta_given=options.theta is not None,
        accumulate=workload.accumulate,
        static=options.static,
        seed=options.seed,
        # More workers than images would only claim memory.
        jobs=min(options.jobs or _processors(), count),
        memory_bytes=options.memory_bytes,
    )


_WHOLE = {
    "images": "--images", "timesteps": "--timesteps", "seed": "--seed", "jobs": "--jobs",
    "memory_bytes": "--memory",
}  # fmt: skip


def _whole_numbers(options: RunOptions) -> RunOptions:
    """The same with Python's own integers; numpy's would not get into JSON."""
    found: dict[str, int] = {}
    for name, flag in _WHOLE.items():
        value = getattr(options, name)
        if value is None and name not in ("seed", "memory_bytes"):
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise UsageError(f"{flag} {_short(value)}: must be a whole number")
        found[name] = int(value)
    return replace(options, **found)  # type: ignore[arg-type]


def _check_theta(theta: Any) -> None:
    values = np.atleast_1d(theta) if isinstance(theta, np.ndarray) else theta
    if not isinstance(values, tuple | list | np.ndarray):
        values = (values,)
    for value in values:
        number = isinstance(value, int | float | np.integer | np.floating)
        if theta is not None and (not number or isinstance(value, bool)):
            raise UsageError(f"--theta {_short(theta)}: must be a number, or one per timestep")


def _short(value: object) -> str:
    return " ".join(repr(value).split())[:80]


def _pair(data: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images and labels that somebody's program hands over, judged by their types."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UsageError(f"--data: a pair (images, labels) is needed, not {type(data).__name__}")
    images, labels = data
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        given = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise UsageError(
            f"--data: images are {given}, a uint8 array is needed (scale to 0..255 and convert to "
            "uint8)"
        )
    if labels is None:
        raise UsageError("--data: there are no labels, one class number per image is needed")
    try:
        labels = np.asarray(labels)
    except ValueError as exc:
        raise UsageError(
            "--data: labels differ in length, one class number each is needed"
        ) from exc
    if labels.ndim != 1 or (len(labels) and labels.dtype.kind not in "iu"):
        raise UsageError(
            f"--data: labels are {labels.dtype} of shape {labels.shape}, one class number (an "
            "integer, not one-hot) per image is needed"
        )
    count = len(images) if images.ndim else 0
    if count != len(labels):
        raise UsageError(f"--data: {count} images, but {len(labels)} labels")
    if not count:
        raise UsageError("--data: there are no images")
    return images, labels.astype(np.int64)


def _check_data(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], workload: Workload
) -> None:
    network = workload.network
    wanted = network.image_shape
    if network.encoding == "direct" and images.shape[1:] != wanted:
        raise UsageError(f"--data: images are {images.shape[1:]}, {network.name} takes {wanted}")
    if network.encoding == "events" and (
        images.ndim != 5 or images.shape[2:] != wanted or images.shape[1] < network.timesteps
    ):
        raise UsageError(
            f"--data: frames are {images.shape[1:]}, {network.name} takes "
            f"{(network.timesteps, *wanted)}"
        )
    wrong = labels[(labels < 0) | (labels >= network.classes)]
    if len(wrong):
        raise UsageError(
            f"--data: label {int(wrong[0])} found, {network.name} has classes "
            f"0..{network.classes - 1}"
        )


def _count(asked: int | None, available: int) -> int:
    if asked is None:
        return min(DEFAULT_IMAGES, available)
    if asked < 1:
        raise UsageError(f"--images {asked}: must be at least 1")
    if asked > available:
        raise UsageError(f"--images {asked}: only {available} available (give more with --data)")
    return asked


def _timesteps(asked: int | None, workload: Workload) -> int:
    if asked is None:
        return workload.network.timesteps
    limit = (
        LARGEST_TIMESTEPS if workload.network.encoding == "direct" else workload.network.timesteps
    )
    if not 1 <= asked <= limit:
        raise UsageError(f"--timesteps {asked}: must be 1 to {limit}")
    return asked


def _policy(options: RunOptions, workload: Workload, timesteps: int) -> ExitPolicy:
    name = options.policy or workload.policy
    theta: float | tuple[float, ...] | list[float] | None = options.theta
    if theta is None and name in THRESHOLD_POLICIES:
        theta = workload.theta.get(name, {}).get(workload.accumulate)
        if theta is None:
            raise UsageError(
                f"{workload.name} has no calibrated threshold for exit policy {name}: give --theta"
            )
        if isinstance(theta, list) and len(theta) != timesteps:
            raise UsageError(
                f"the thresholds of {workload.name} are for {len(theta)} timesteps: give --theta"
            )
    policy = ExitPolicy.of(name, theta)
    if name in THRESHOLD_POLICIES:
        policy.thresholds(timesteps)
    return policy


def _processors() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
