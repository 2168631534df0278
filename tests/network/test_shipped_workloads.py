"""The shipped workloads load, and the reference still makes of them what it once made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imcsim.network.reference import run_reference
from imcsim.network.workload import read_workload

WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"


@pytest.mark.parametrize(
    ("name", "images", "timesteps"), [("digits", 16, 4), ("mnist", 16, 4), ("vgg16_cifar10", 1, 2)]
)
def test_golden_logits_are_reproduced(name: str, images: int, timesteps: int) -> None:
    workload = read_workload(WORKLOADS / f"{name}.npz")
    run = run_reference(workload.network, workload.images[:images], timesteps)
    np.testing.assert_array_equal(run.logits, workload.golden_logits[:images, :timesteps])


def test_digits_are_as_accurate_as_the_file_says() -> None:
    workload = read_workload(WORKLOADS / "digits.npz")
    logits = run_reference(workload.network, workload.images).logits
    right = logits.cumsum(axis=1).argmax(axis=2) == workload.labels[:, None]
    np.testing.assert_allclose(
        right.mean(axis=0), workload.accuracies["integer"]["shipped_400"], atol=1e-6
    )
    assert right.mean(axis=0)[-1] > 0.9


def test_mnist_gets_as_many_images_right_as_its_training_recorded() -> None:
    workload = read_workload(WORKLOADS / "mnist.npz")
    logits = run_reference(workload.network, workload.images).logits
    right = logits.cumsum(axis=1).argmax(axis=2) == workload.labels[:, None]
    assert right.sum(axis=0).tolist() == workload.accuracies["shipped_correct"]
    assert workload.accuracies["shipped_correct"][-1] > 970
    assert np.bincount(workload.labels).tolist() == [100] * 10


def test_digits_have_counts_behind_their_pools() -> None:
    network = read_workload(WORKLOADS / "digits.npz").network
    assert [layer.input_bits for layer in network.layers] == [8, 1, 3, 1, 3]


def test_vgg16_has_the_layers_of_the_paper_and_a_hundred_images_per_class() -> None:
    """14.72 M weights; 276,480 neurons: Li et al., DAC 2023, and the authors' model."""
    workload = read_workload(WORKLOADS / "vgg16_cifar10.npz")
    network = workload.network
    weights = [layer.weight for layer in network.layers if layer.weight is not None]
    assert len(weights) == 14
    assert sum(weight.size for weight in weights) == 14_715_584
    assert sum(layer.neurons for layer in network.layers) == 276_480
    assert {layer.input_max for layer in network.layers[1:]} == {1}
    assert network.neuron.membrane_bits == 16
    assert np.bincount(workload.labels).tolist() == [100] * 10
    assert len(workload.calibration_images) == 256
    assert set(workload.theta) == {"entropy", "confidence", "margin"}
