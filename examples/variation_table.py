"""What device variation costs a workload, and what setting a chip anew from calibration images
brings.

    python examples/variation_table.py workloads/vgg16_cifar10.npz --images 200 --jobs 2

Made for the tables in docs/validation.md. For each mapping, variation model, σ/μ and chip:
accuracy and mean timesteps of early exit by entropy, with the workload's threshold or with one
calibrated on the chip (θ), with and without corrected channels; all timesteps run, so every
threshold comes from the same passes. Then the three exit policies at equal mean timesteps. Test
images are evaluated, calibration images corrected on; mean ± standard deviation over chips.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

from imcsim.chip import Chip, load_chip
from imcsim.functional.adc import Steps
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.correction import correct_channels, observe_channels
from imcsim.functional.forward import build_model
from imcsim.functional.images import run_images
from imcsim.functional.thresholds import calibrate_all, exit_accuracies, iso_accuracy_curve
from imcsim.mapping import map_network
from imcsim.network import Workload, read_workload
from imcsim.network.workload import Theta

ARCHS = ("rram64", "rram64_differential")
MODELS = ("weight", "device")
POLICIES = ("entropy", "confidence", "margin")
FOLDER = Path(__file__).resolve().parent.parent / "arch"


@dataclass(frozen=True)
class Job:
    """One chip."""

    workload: str
    arch: str
    model: str
    sigma: float
    seed: int
    images: int
    calibration: int

    @property
    def row(self) -> tuple[str, str, float]:
        return self.arch, self.model, self.sigma


@dataclass(frozen=True, eq=False)
class Scores:
    """Class scores of one chip, int32 (n, t, k), of test and of calibration images."""

    test: np.ndarray
    calibration: np.ndarray


workload_of = cache(read_workload)


def chip_of(arch: str, model: str, sigma: float) -> Chip:
    overrides = {"device.variation": sigma, "device.variation_model": model}
    return load_chip(FOLDER / f"{arch}.yaml", overrides)


@cache
def adc_steps(workload: str, arch: str) -> Steps:
    """Ranges are those of exact cells, the same for every chip."""
    network, chip = workload_of(workload).network, chip_of(arch, MODELS[0], 0.0)
    images = workload_of(workload).calibration_images
    return calibrated_steps(map_network(network, chip), images, network.timesteps)


def simulate(job: Job) -> dict[bool, Scores]:
    """The chip as it is (False) and with corrected channels (True)."""
    workload = workload_of(job.workload)
    mapping = map_network(workload.network, chip_of(*job.row))
    plain = build_model(mapping, job.seed, adc_steps(job.workload, job.arch))
    calibration = workload.calibration_images[: job.calibration]
    timesteps = workload.network.timesteps
    corrected, _ = correct_channels(plain, observe_channels(plain, calibration, timesteps))
    return {
        channels: Scores(
            run_images(model, workload.images[: job.images], timesteps).logits,
            run_images(model, calibration, timesteps).logits,
        )
        for channels, model in ((False, plain), (True, corrected))
    }


def exits(workload: Workload, scores: Scores, theta_too: bool) -> tuple[float, float]:
    """Accuracy and mean timesteps of exits by entropy, with the workload's threshold or the
    chip's."""
    scale, readout = workload.network.logit_scale, str(workload.accumulate)
    theta: Theta = workload.theta["entropy"][workload.accumulate]
    if theta_too:
        labels = workload.calibration_labels[: len(scores.calibration)]
        theta = calibrate_all(scores.calibration, labels, scale)["entropy"][readout]
    labels = workload.labels[: len(scores.test)]
    used = {"entropy": {readout: theta}}
    found = exit_accuracies(scores.test, labels, scale, used)["entropy"][readout]
    return found["accuracy"], found["timesteps_mean"]


def static(workload: Workload, scores: Scores) -> float:
    """Accuracy of all timesteps."""
    right = scores.test.sum(axis=1).argmax(axis=1) == workload.labels[: len(scores.test)]
    return float(right.mean())


def at_equal_timesteps(workload: Workload, scores: Scores) -> list[float]:
    """Accuracy of each policy at the mean timesteps of the workload's entropy threshold."""
    _, mean = exits(workload, scores, theta_too=False)
    labels, found = workload.labels[: len(scores.test)], []
    for policy in POLICIES:
        curve = iso_accuracy_curve(
            policy, workload.accumulate, scores.test, labels, workload.network.logit_scale
        )
        found.append(float(np.interp(mean, curve.timesteps_mean[::-1], curve.accuracy[::-1])))
    return [mean, *found]


def spread(values: list[float], unit: str = "", digits: int = 1) -> str:
    """Mean ± standard deviation over chips; only the value of a single one."""
    scale = 100 if unit == "%" else 1
    mean, deviation = scale * np.mean(values), scale * np.std(values, ddof=min(1, len(values) - 1))
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


def name(row: tuple[str, str, float]) -> str:
    arch, model, sigma = row
    return f"| {arch} | {model if sigma else '–'} | {100 * sigma:g} % |"


def mitigation_row(
    workload: Workload, row: tuple[str, str, float], chips: list[dict[bool, Scores]]
) -> str:
    cells = [spread([static(workload, chip[c]) for chip in chips], "%") for c in (False, True)]
    for channels in (False, True):
        for theta in (False, True):
            pairs = [exits(workload, chip[channels], theta) for chip in chips]
            accuracy = spread([pair[0] for pair in pairs], "%")
            cells.append(f"{accuracy} at {spread([pair[1] for pair in pairs], digits=2)}")
    return f"{name(row)} {' | '.join(cells)} |"


def policy_row(
    workload: Workload, row: tuple[str, str, float], chips: list[dict[bool, Scores]]
) -> Iterator[str]:
    for channels in (False, True):
        mean, *found = zip(*(at_equal_timesteps(workload, c[channels]) for c in chips), strict=True)
        cells = [spread(list(mean), digits=2), *(spread(list(f), "%") for f in found)]
        yield f"{name(row)} {'yes' if channels else 'no'} | {' | '.join(cells)} |"


def jobs_of(options: argparse.Namespace) -> list[Job]:
    rows = [
        (arch, model, sigma)
        for arch in ARCHS
        for model in MODELS
        for sigma in options.sigma
        if sigma or model == MODELS[0]  # without variation there is only one chip
    ]
    return [
        Job(options.workload, *row, seed, options.images, options.calibration)
        for row in rows
        for seed in range(options.chips if row[2] else 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("workload")
    parser.add_argument("--images", type=int, default=200, help="test images")
    parser.add_argument("--calibration", type=int, default=256, help="calibration images")
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.2])
    parser.add_argument("--chips", type=int, default=5, help="seeds 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    workload = workload_of(options.workload)
    policies: list[str] = []
    print("| chip | variation | σ/μ | static | static, channels | none | θ | channels | both |")
    print("|---|---|---|---|---|---|---|---|---|")
    jobs = jobs_of(options)
    with ProcessPoolExecutor(options.jobs) as workers:
        done = zip(jobs, workers.map(simulate, jobs), strict=True)
        for row, found in groupby(done, key=lambda pair: pair[0].row):
            chips = [scores for _, scores in found]
            print(mitigation_row(workload, row, chips), flush=True)
            if row[2] in (0.0, max(options.sigma)):
                policies += policy_row(workload, row, chips)
    print("\n| chip | variation | σ/μ | channels | mean T | entropy | confidence | margin |")
    print("|---|---|---|---|---|---|---|---|", *policies, sep="\n")


if __name__ == "__main__":
    main()
