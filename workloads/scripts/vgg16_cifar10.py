"""Make ``vgg16_cifar10.npz``: a spiking VGG-16 for CIFAR-10, from trained float weights.

    python workloads/scripts/vgg16_cifar10.py WEIGHTS.npz TEST.npz TRAIN.npz -o OUT.npz

WEIGHTS holds ``conv{1..13}.weight``, ``conv{k}.bn_{gamma,beta,mean,var}``, ``fc.weight`` and
``fc.bias``; TEST the 10,000 test images, TRAIN training images (any format that `imcsim run
--data` reads). About half an hour on one core; ``--cache DIR`` keeps the class scores of all test
images for the next time.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imcsim.functional.thresholds import calibrate_all, exit_accuracies, static_accuracies
from imcsim.network.datasets import read_images
from imcsim.network.float_network import BatchNorm, FloatLayer, FloatNetwork, run_float
from imcsim.network.layers import Network
from imcsim.network.quantize import quantize
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload, write_workload
from imcsim.training.export import first_of_each_class

CHANNELS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Output channels of each convolution; M is a 2×2 max pool of spikes."""
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
PER_CLASS = 100
CALIBRATION = 256
GOLDEN = 16


def vgg16(weights: dict[str, np.ndarray]) -> FloatNetwork:
    """The network of the checkpoint: u ← u/2 + current, a spike if u > 1, hard reset."""
    layers: list[FloatLayer] = []
    convolutions = pools = 0
    for entry in CHANNELS:
        source = len(layers) - 1
        if entry == "M":
            pools += 1
            layers.append(FloatLayer(f"pool{pools}", "max_pool", source, kernel=2, stride=2))
            continue
        convolutions += 1
        name = f"conv{convolutions}"
        layers.append(
            FloatLayer(
                name,
                "conv",
                source,
                kernel=3,
                padding=1,
                spikes=True,
                weight=weights[f"{name}.weight"],
                batch_norm=BatchNorm(
                    *(weights[f"{name}.bn_{key}"] for key in ("gamma", "beta", "mean", "var"))
                ),
            )
        )
    fc = FloatLayer(
        "fc", "linear", len(layers) - 1, weight=weights["fc.weight"], bias=weights["fc.bias"]
    )
    return FloatNetwork(
        name="vgg16_cifar10",
        image_shape=(3, 32, 32),
        classes=10,
        timesteps=4,
        layers=(*layers, fc),
        mean=np.array(MEAN),
        std=np.array(STD),
        tau=0.5,
        reset="hard",
    )


def cached(
    path: Path | None, digest: str, images: np.ndarray, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Class scores of all images, 500 at a time; taken from `path` if they were made by the same
    network.
    """
    if path is not None and path.exists():
        with np.load(path) as file:
            if str(file["digest"]) == digest and len(file["logits"]) == len(images):
                return file["logits"]
    parts = []
    for start in range(0, len(images), 500):
        parts.append(run(images[start : start + 500]))
        print(f"{start + len(parts[-1])} of {len(images)} images", flush=True)
    logits = np.concatenate(parts)
    if path is not None:
        np.savez(path, digest=digest, logits=logits)
    return logits


def digest_of(network: Network) -> str:
    """A fingerprint of everything that the class scores depend on."""
    digest = hashlib.sha256(repr(network.neuron).encode() + network.input_table.tobytes())
    for layer in network.layers:
        for array in (layer.weight, layer.threshold, layer.bias):
            if array is not None:
                digest.update(array.tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()

    with np.load(options.weights) as file:
        float_network = vgg16({key: file[key] for key in file.files})
    network = quantize(float_network)
    images, labels = read_images(options.test)
    train_images, train_labels = read_images(options.train)
    cache: Callable[[str], Path | None] = lambda name: (  # noqa: E731
        options.cache and options.cache / f"{name}.npz"
    )
    logits = cached(
        cache("integer"), digest_of(network), images, lambda x: run_reference(network, x).logits
    )
    weights_sha256 = hashlib.sha256(options.weights.read_bytes()).hexdigest()
    float_logits = cached(
        cache("float"), weights_sha256, images, lambda x: run_float(float_network, x)
    )
    shipped = first_of_each_class(labels, PER_CLASS)
    theta = calibrate_all(logits[~shipped], labels[~shipped], network.logit_scale)
    accuracies: dict[str, Any] = {
        "float": {
            "all_10000": static_accuracies(float_logits, labels),
            "shipped_1000": static_accuracies(float_logits[shipped], labels[shipped]),
        },
        "integer": {
            "all_10000": static_accuracies(logits, labels),
            "shipped_1000": static_accuracies(logits[shipped], labels[shipped]),
        },
        "exits_shipped_1000": exit_accuracies(
            logits[shipped], labels[shipped], network.logit_scale, theta
        ),
    }
    write_workload(
        options.out,
        Workload(
            network=network,
            images=images[shipped],
            labels=labels[shipped],
            calibration_images=train_images[:CALIBRATION],
            calibration_labels=train_labels[:CALIBRATION],
            golden_logits=logits[shipped][:GOLDEN].astype(np.int32),
            theta=theta,
            accuracies=accuracies,
            provenance={
                "made_by": "workloads/scripts/vgg16_cifar10.py",
                "weights_sha256": weights_sha256,
                "images": "CIFAR-10 (A. Krizhevsky, 2009), test set: the first 100 of each class "
                "of a shuffled copy",
                "calibration": "256 training images; the network was trained on all 50,000 of them",
                "theta": "calibrated on the 9,000 test images that are not shipped, because no "
                "training image is held out: as few timesteps as possible at the accuracy of T = 4",
            },
        ),
    )
    for name, value in accuracies.items():
        print(name, value)
    print("theta", theta)


if __name__ == "__main__":
    main()
