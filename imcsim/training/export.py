"""From a trained float network and its images to a workload: quantise, calibrate, measure.

Nothing here needs torch. Thresholds come from held-out training images, never from test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imcsim.errors import ImcsimError, UsageError, WorkloadError
from imcsim.functional.exits import THRESHOLD_POLICIES
from imcsim.functional.thresholds import (
    READOUTS,
    average_exit_time,
    calibrate_all,
    exit_accuracies,
    iso_accuracy_curve,
    right_predictions,
    rounded,
    static_accuracies,
)
from imcsim.network.build import check_array
from imcsim.network.float_network import FloatNetwork, run_float
from imcsim.network.layers import Network
from imcsim.network.quantize import Arithmetic, quantize
from imcsim.network.reference import run_reference
from imcsim.network.workload import Accumulate, Theta, Workload

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[Any]
FloatLogits = Callable[[Images], Logits]
"""Images to the float network's class scores of each timestep alone, float (n, t, k)."""
IntegerLogits = Callable[[Network, Images], Logits]
"""The same of the integer network: int (n, t, k), equal to `run_reference` bit for bit."""

CURVE_POINTS = 9
"""Points of each recorded curve of accuracy over mean timesteps."""


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images."""

    images: Images
    """uint8 (n, c, h, w), or event frames (n, t, c, h, w)."""
    labels: Labels
    """int64 (n,)."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: npt.NDArray[Any]) -> Split:
        """Some of the images, by mask or by index."""
        return Split(self.images[chosen], self.labels[chosen])


class _Scored(NamedTuple):
    """What a network made of a set of images."""

    name: str
    logits: Logits
    labels: Labels

    @property
    def key(self) -> str:
        """What the workload file calls it, such as ``test_10000``."""
        return f"{self.name}_{len(self.labels)}"


def rank_in_class(labels: Labels) -> npt.NDArray[np.int64]:
    """How many earlier images have the same label, int64 (n,)."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        same = np.flatnonzero(labels == label)
        rank[same] = np.arange(len(same))
    return rank


def first_of_each_class(labels: Labels, count: int) -> npt.NDArray[np.bool_]:
    """bool (n,): the first `count` images of each class, in the order of the set."""
    chosen: npt.NDArray[np.bool_] = rank_in_class(labels) < count
    return chosen


def balanced_choice(labels: Labels, count: int) -> npt.NDArray[np.int64]:
    """Indices int64 (min(count, n),): the first image of every class, then the second of every
    class, and so on, each round in the order of the set.

    Every beginning of the choice is as balanced as it can be, since a chip may use fewer
    calibration images than the file holds.
    """
    chosen: npt.NDArray[np.int64] = np.argsort(rank_in_class(labels), kind="stable")[:count]
    return chosen


def export_workload(
    real: FloatNetwork,
    held_out: Split,
    test: Split,
    *,
    provenance: Mapping[str, Any],
    float_logits: FloatLogits | None = None,
    integer_logits: IntegerLogits | None = None,
    per_class_shipped: int = 100,
    calibration_images: int = 256,
    golden: int = 16,
    arithmetic: Arithmetic | None = None,
    goal: float | None = None,
    baseline: Workload | None = None,
    policy: str = "entropy",
    accumulate: Accumulate = "sum",
) -> Workload:
    """Quantise a trained network and pack it with images, golden class scores, calibrated
    thresholds and measured accuracies. Equal arguments give equal workloads.

    Parameters
    ----------
    held_out : Split
        Training images that were not trained on. All of them calibrate θ; `calibration_images` of
        them (`balanced_choice`) are shipped for the ADC ranges.
    test : Split
        All of them are measured; the first `per_class_shipped` of each class are shipped, in the
        order of the set, and the first `golden` of those with the reference's class scores.
    provenance
        Where weights and images come from, as JSON. How the images and θ were chosen is added
        where it is not said.
    float_logits, integer_logits
        Faster evaluations than `run_float` and `run_reference`, the defaults. The integer one is
        checked against the reference on the golden images.
    goal : float, optional
        Accuracy on the held-out images that θ must reach; default: the integer network's own after
        all timesteps.
    baseline : Workload, optional
        Another network, measured on the same held-out images: a second calibration asks for its
        accuracy after all timesteps (Table II of the paper compares with a static network that was
        trained with Eq. (9)) and is recorded as ``accuracies["iso_baseline"]``.
    policy, accumulate
        Defaults of a run.

    Raises
    ------
    WorkloadError
        The images do not fit the network, or the network cannot be quantised.
    UsageError
        A number of images is below 1, no threshold reaches the goal, or the baseline was measured
        on other images.
    ImcsimError
        An evaluation returns something else than class scores, or other ones than the reference.
    """
    _check_counts(
        per_class_shipped=per_class_shipped, calibration_images=calibration_images, golden=golden
    )
    _check_split("held_out", held_out, real)
    _check_split("test", test, real)
    network = quantize(real, arithmetic)
    mask = first_of_each_class(test.labels, per_class_shipped)
    shipped = test.take(mask)
    chosen = held_out.take(balanced_choice(held_out.labels, calibration_images))
    tested = _score("test", network, test, integer_logits)
    packed = _Scored("shipped", tested.logits[mask], shipped.labels)
    golden_logits = _golden(network, shipped.images[:golden], packed.logits[:golden])
    calibrating = _score("held_out", network, held_out, integer_logits)
    theta = calibrate_all(calibrating.logits, held_out.labels, network.logit_scale, goal)
    iso = {}
    if baseline is not None:
        iso["iso_baseline"] = _iso_baseline(baseline, network, calibrating, (tested, packed))
    real_logits = (
        run_float(real, test.images) if float_logits is None else float_logits(test.images)
    )
    _check_logits("float", real_logits, np.floating, len(test), network)
    real_sets = (tested._replace(logits=real_logits), packed._replace(logits=real_logits[mask]))
    return Workload(
        network=network,
        images=shipped.images,
        labels=shipped.labels,
        calibration_images=chosen.images,
        calibration_labels=chosen.labels,
        golden_logits=golden_logits,
        theta={name: {**values} for name, values in theta.items()},
        accumulate=accumulate,
        policy=policy,
        accuracies={
            "float": _static(real_sets),
            **_measured(network.logit_scale, theta, tested, packed, calibrating),
            **iso,
        },
        provenance=_choices(network, len(held_out), per_class_shipped, goal) | dict(provenance),
    )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name} is {count}, it must be 1 or more")


def _check_split(name: str, split: Split, network: FloatNetwork) -> None:
    """Refuse images that the network cannot take, before they are run."""
    n = len(split)
    if not n:
        raise WorkloadError(f"{name}.images: there are none")
    frames = (network.timesteps,) if network.encoding == "events" else ()
    images, labels = split.images, split.labels
    expected = (n, *frames, *network.image_shape)
    check_array(f"{name}.images", (images.dtype, images.shape), np.uint8, expected)
    check_array(f"{name}.labels", (labels.dtype, labels.shape), np.int64, (n,))
    if labels.min() < 0 or labels.max() >= network.classes:
        raise WorkloadError(
            f"{name}.labels: {labels.min()}..{labels.max()} found, there are {network.classes} "
            "classes"
        )


def _score(
    name: str, network: Network, split: Split, integer_logits: IntegerLogits | None
) -> _Scored:
    if integer_logits is None:
        return _Scored(name, run_reference(network, split.images).logits, split.labels)
    logits = integer_logits(network, split.images)
    _check_logits("integer", logits, np.integer, len(split), network)
    return _Scored(name, logits, split.labels)


def _check_logits(name: str, logits: Logits, kind: type, images: int, network: Network) -> None:
    expected = (images, network.timesteps, network.classes)
    if logits.shape != expected or not np.issubdtype(logits.dtype, kind):
        raise ImcsimError(
            f"{name} class scores: {logits.dtype} {logits.shape} found, "
            f"{kind.__name__} {expected} expected"
        )


def _golden(network: Network, images: Images, found: Logits) -> npt.NDArray[np.int32]:
    """The reference's class scores of the first shipped images, which `found` must equal."""
    golden = run_reference(network, images).logits
    differs = (golden != found).any(axis=2)
    if differs.any():
        image, t = np.argwhere(differs)[0]
        raise ImcsimError(
            f"class scores of shipped image {image} (from 0) at t = {t + 1} are "
            f"{found[image, t].tolist()}, the reference has {golden[image, t].tolist()}: "
            "the evaluation that was exported is not the integer network's"
        )
    return golden.astype(np.int32)


def _static(sets: Iterable[_Scored]) -> dict[str, list[float]]:
    return {part.key: static_accuracies(part.logits, part.labels) for part in sets}


def _measured(
    logit_scale: float,
    theta: Mapping[str, Mapping[str, Theta]],
    tested: _Scored,
    packed: _Scored,
    calibrating: _Scored,
) -> dict[str, Any]:
    """What the integer network reaches: static, with exits, and what bounds the exits."""
    sets = (tested, packed, calibrating)
    right = right_predictions(packed.logits, packed.labels)
    return {
        "integer": _static(sets),
        "shipped_correct": right.sum(axis=0).tolist(),
        "exits": {
            part.key: exit_accuracies(part.logits, part.labels, logit_scale, theta) for part in sets
        },
        "earliest_exits": {part.key: _earliest(part) for part in sets},
        "curves": {tested.key: _curves(tested, logit_scale)},
    }


def _iso_baseline(
    baseline: Workload, network: Network, calibrating: _Scored, measured: Iterable[_Scored]
) -> dict[str, Any]:
    """θ for the accuracy of another network after all its timesteps, and what it reaches.

    A policy that cannot reach it on the held-out images is left out.
    """
    shares = baseline.accuracies.get("integer", {}).get(calibrating.key)
    if not shares:
        raise UsageError(
            f"baseline {baseline.name}: it has no accuracy on {calibrating.key} images to compare "
            "with (train it with as many held-out images)"
        )
    theta: dict[str, dict[str, float]] = {}
    for policy in THRESHOLD_POLICIES:
        for accumulate in READOUTS:
            curve = iso_accuracy_curve(
                policy, accumulate, calibrating.logits, calibrating.labels, network.logit_scale
            )
            point = curve.fewest_timesteps(shares[-1])
            if point is not None:
                theta.setdefault(policy, {})[accumulate] = float(curve.theta[point])
    return {
        "baseline": baseline.name,
        "goal": shares[-1],
        "theta": theta,
        "exits": {
            part.key: exit_accuracies(part.logits, part.labels, network.logit_scale, theta)
            for part in measured
        },
    }


def _earliest(part: _Scored) -> dict[str, float]:
    bounds = asdict(average_exit_time(part.logits, part.labels))
    return dict(zip(bounds, rounded(bounds.values()), strict=True))


def _curves(part: _Scored, logit_scale: float) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Accuracy over mean timesteps, `CURVE_POINTS` per policy and readout."""
    curves: dict[str, dict[str, dict[str, list[float]]]] = {}
    for policy in THRESHOLD_POLICIES:
        curves[policy] = {}
        for accumulate in READOUTS:
            curve = iso_accuracy_curve(policy, accumulate, part.logits, part.labels, logit_scale)
            few = curve.spread(CURVE_POINTS)
            curves[policy][accumulate] = {
                # In full: at a tie of many images, 6 digits would give another point.
                "theta": few.theta.tolist(),
                "timesteps_mean": rounded(few.timesteps_mean),
                "accuracy": rounded(few.accuracy),
            }
    return curves


def _choices(network: Network, held_out: int, per_class: int, goal: float | None) -> dict[str, str]:
    """How the shipped images and θ were chosen, in words."""
    accuracy = f"the accuracy of T = {network.timesteps}" if goal is None else f"accuracy {goal:g}"
    return {
        "shipped": f"the first {per_class} test images of each class, in the order of the set",
        "calibration": f"of {held_out} training images that were not trained on: the first of "
        "every class, then the second of every class, and so on",
        "theta": f"calibrated on the same {held_out} held-out training images: as few timesteps "
        f"as possible at {accuracy}",
    }


def summary(workload: Workload) -> list[str]:
    """Lines that say what an exported workload reaches: float against int8 accuracy after each
    timestep, then the exits on all test images, with the oracle that bounds them.
    """
    said, wide = workload.accuracies, 26
    steps = range(1, workload.network.timesteps + 1)
    lines = [f"{'accuracy [%] after t =':<{wide}}" + "".join(f"{t:>8}" for t in steps)]
    for kind, shown in (("float", "float"), ("integer", "int8")):
        for key, shares in sorted(said.get(kind, {}).items(), reverse=True):
            cells = "".join(f"{100 * share:8.2f}" for share in shares)
            lines.append(f"{shown + ' ' + key:<{wide}}{cells}")
    for key in sorted(key for key in said.get("exits", {}) if key.startswith("test_")):
        lines.append(f"{'exits on ' + key:<{wide}}{'θ':>10}{'%':>8}{'mean T':>8}")
        for name, theta, accuracy, mean in _exit_rows(workload, key):
            lines.append(f"{name:<{wide}}{theta:>10}{100 * accuracy:8.2f}{mean:8.3f}")
    return lines + _iso_lines(said.get("iso_baseline"), wide)


def _iso_lines(iso: Mapping[str, Any] | None, wide: int) -> list[str]:
    """The exits at the accuracy of the baseline, on all test images."""
    if iso is None:
        return []
    key = next(key for key in iso["exits"] if key.startswith("test_"))
    head = (
        f"as accurate as {iso['baseline']} after all timesteps ({100 * iso['goal']:.2f} % held out)"
    )
    rows = [
        f"{f'{policy} {accumulate}':<{wide}}{iso['theta'][policy][accumulate]:>10.4g}"
        f"{100 * reached['accuracy']:8.2f}{reached['timesteps_mean']:8.3f}"
        for policy, by_readout in sorted(iso["exits"][key].items())
        for accumulate, reached in sorted(by_readout.items())
    ]
    return [head, *(rows or ["no policy reaches it"])]


def _exit_rows(workload: Workload, key: str) -> Iterator[tuple[str, str, float, float]]:
    """Name, θ, accuracy and mean timesteps of each policy and readout, then of the oracle."""
    exits = workload.accuracies["exits"][key]
    # The order of a file is alphabetical; this one is the same before and after writing.
    for policy in sorted(exits):
        for accumulate, reached in sorted(exits[policy].items()):
            theta = workload.theta[policy][accumulate]
            shown = "by t" if isinstance(theta, list) else f"{theta:.4g}"
            name = f"{policy} {accumulate}"
            if (policy, accumulate) == (workload.policy, workload.accumulate):
                name += " (default)"
            yield name, shown, reached["accuracy"], reached["timesteps_mean"]
    bound = workload.accuracies["earliest_exits"][key]
    yield "oracle", "", bound["oracle_accuracy"], bound["oracle_timesteps_mean"]
