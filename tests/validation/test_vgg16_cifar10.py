"""The shipped VGG-16 against what workloads/README.md and arch/*.yaml say of it: minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imcsim.chip import load_chip
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.forward import build_model, ideal_model
from imcsim.functional.images import run_images
from imcsim.functional.verify import verify
from imcsim.mapping import Mapping, map_network
from imcsim.network import Workload, read_workload
from imcsim.network.reference import run_reference
from imcsim.simulator import RunOptions, run
from imcsim.timing.engine import Schedule, run_engine
from imcsim.timing.network_graph import timestep_graph

ROOT = Path(__file__).parents[2]
CHIPS = ("rram64", "rram64_differential")

pytestmark = [pytest.mark.slow, pytest.mark.needs_jit]


@pytest.fixture(scope="module")
def workload() -> Workload:
    return read_workload(ROOT / "workloads" / "vgg16_cifar10.npz")


def mapped(workload: Workload, chip: str, *overrides: str) -> Mapping:
    return map_network(workload.network, load_chip(ROOT / "arch" / f"{chip}.yaml", overrides))


def right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Right predictions from the scores summed up to each timestep, int (t,)."""
    return (logits.cumsum(axis=1).argmax(axis=2) == labels[:, None]).sum(axis=0)


@pytest.mark.parametrize("chip", CHIPS)
def test_an_ideal_chip_equals_the_reference_bit_for_bit(workload: Workload, chip: str) -> None:
    compared = verify(mapped(workload, chip), workload.images, workload.golden_logits)
    assert (compared.images, compared.timesteps, compared.layers) == (16, 4, 19)


def test_the_recorded_accuracy_is_that_of_the_reference_and_of_an_ideal_chip(
    workload: Workload,
) -> None:
    recorded = workload.accuracies["integer"]["shipped_1000"]
    assert len(workload.images) == 1000
    ideal = run_images(ideal_model(mapped(workload, "rram64")), workload.images, 4, jobs=2).logits
    np.testing.assert_array_equal(
        right(ideal, workload.labels), np.round(1000 * np.array(recorded)).astype(int)
    )
    reference = run_reference(workload.network, workload.images[-50:]).logits
    np.testing.assert_array_equal(ideal[-50:], reference)


def test_the_crossbar_counts_are_those_of_neurosims_rule(workload: Workload) -> None:
    mapping = mapped(workload, "rram64")
    assert (mapping.crossbars, mapping.tiles) == (7192, 118)
    assert sum(m.reads_one_bit for m in mapping.layers) == 154_120
    # The image is fed in 8 bits, seven more reads for each of the first layer's 2,048.
    assert mapping.reads == 154_120 + 7 * 2048


@pytest.mark.parametrize("chip", CHIPS)
def test_the_default_adc_loses_at_most_a_fifth_of_a_point_on_the_calibration_images(
    workload: Workload, chip: str
) -> None:
    """In the mean over t = 1..4, as the tables in arch/*.yaml."""
    mapping = mapped(workload, chip, "device.variation=0")
    images, labels = workload.calibration_images, workload.calibration_labels
    steps = calibrated_steps(mapping, images, 4)
    found = run_images(build_model(mapping, 0, steps), images, 4, jobs=2).logits
    lossless = run_images(ideal_model(mapping), images, 4, jobs=2).logits
    lost = right(lossless, labels).mean() - right(found, labels).mean()
    assert lost / len(labels) <= 0.002


def test_wheel_and_heap_agree_on_the_whole_network(workload: Workload) -> None:
    graph = timestep_graph(mapped(workload, "rram64"))
    first, second = (
        Schedule(graph, *(np.full(graph.tasks, -1, np.int64) for _ in range(3))) for _ in range(2)
    )
    assert run_engine(graph, first, wheel=True) == graph.tasks
    assert run_engine(graph, second, wheel=False) == graph.tasks
    np.testing.assert_array_equal(first.start, second.start)
    np.testing.assert_array_equal(first.end, second.end)


def test_the_exit_module_costs_about_what_the_paper_says(workload: Workload) -> None:
    """Sec. III-B: 2e-5 of the energy of one timestep."""
    chip = load_chip(ROOT / "arch" / "rram64.yaml")
    result = run(chip, workload, RunOptions(images=8))
    ratio = result.sigma_e_energy_j / result.step_energy_j.mean()
    assert 0.2e-5 < ratio < 20e-5


def test_exit_decisions_of_the_integer_module_agree_with_floats(workload: Workload) -> None:
    result = run(load_chip(ROOT / "arch" / "rram64.yaml"), workload, RunOptions(images=256))
    theta = result.policy.theta[0]
    scores = result.logits.astype(np.float64).cumsum(axis=1) * workload.network.logit_scale
    scores -= scores.max(axis=2, keepdims=True)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    entropy = -(softmax * np.log(np.maximum(softmax, 1e-300))).sum(axis=2) / np.log(10)
    steps = np.argmax(np.column_stack([entropy[:, :-1] < theta, np.ones(256, bool)]), axis=1) + 1
    assert (steps == result.dynamic.steps).mean() >= 0.99
