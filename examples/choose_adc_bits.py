"""How many ADC bits does a chip need for a workload? Accuracy on calibration images, by bits.

    python examples/choose_adc_bits.py arch/rram64.yaml workloads/vgg16_cifar10.npz

Made for the tables in ``arch/*.yaml``. The default there is the smallest number of bits that loses
at most 0.2 points against a converter that loses nothing, in the mean over t = 1..T: a dynamic
network exits at every t, and the mean is less noisy than one of them. Device variation is left out.
Only calibration images are used, so the choice has seen no evaluated image; the ranges come from
the first `adc.calibration_images` of them.
"""

from __future__ import annotations

import argparse

import numpy as np

from imcsim.chip import load_chip
from imcsim.functional.calibration import observe_ranges
from imcsim.functional.forward import ChipModel, build_model, ideal_model
from imcsim.functional.images import run_images
from imcsim.mapping import map_network
from imcsim.network import Workload, read_workload


def accuracies(model: ChipModel, workload: Workload, jobs: int) -> np.ndarray:
    """Share of right predictions from the scores summed up to t, float64 (t,)."""
    images, labels = workload.calibration_images, workload.calibration_labels
    logits = run_images(model, images, workload.network.timesteps, jobs).logits
    right = logits.cumsum(axis=1).argmax(axis=2) == labels[:, None]
    shares: np.ndarray = right.mean(axis=0)
    return shares


def row(name: str, found: np.ndarray, lossless: np.ndarray) -> str:
    """One line of the table, in per cent."""
    each = "  ".join(f"{100 * share:6.2f}" for share in found)
    mean = 100 * (found.mean() - lossless.mean())
    return f"{name:22}  {each}  {100 * found.mean():6.2f}  {mean:+6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("arch")
    parser.add_argument("workload")
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4, 5, 6, 7, 8, 9, 10])
    parser.add_argument("--percentiles", type=float, nargs="+", default=[99.0, 99.9])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    workload = read_workload(options.workload)
    chip = load_chip(options.arch, ["device.variation=0"])
    mapping = map_network(workload.network, chip)
    timesteps = workload.network.timesteps
    images = workload.calibration_images[: chip.adc.calibration_images]
    ranges = observe_ranges(mapping, images, timesteps)
    lossless = accuracies(ideal_model(mapping), workload, options.jobs)
    print(f"{chip.name}, {workload.name}, {len(workload.calibration_images)} calibration images")
    each = "  ".join(f" t = {t} "[:6] for t in range(1, timesteps + 1))
    print(f"{'accuracy [%]':22}  {each}    mean    loss")
    print(row("lossless", lossless, lossless), flush=True)
    for bits in options.bits:
        coarse = load_chip(options.arch, ["device.variation=0", f"adc.bits={bits}"])
        for percentile in options.percentiles:
            steps = ranges.steps(bits, percentile)
            model = build_model(map_network(workload.network, coarse), 0, steps)
            found = accuracies(model, workload, options.jobs)
            print(row(f"{bits} bits, {percentile:g} %", found, lossless), flush=True)


if __name__ == "__main__":
    main()
