"""A run as a whole: what it adds up to, and what it must not depend on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS
from imcsim.chip import load_chip
from imcsim.energy import COMPONENTS, price_chip
from imcsim.errors import ImcsimError, MappingError, UsageError
from imcsim.network import Workload
from imcsim.simulator import Outcome, Progress, RunOptions, RunResult, run
from tests.simulator.digits import ARCH, CHEAP, IMAGES, chip, digits, result
from tests.small_networks import events_network, random_workload

FOUR = {"policy": "entropy", "theta": 0.2}


def slow_energy(found: RunResult, image: int, steps: int) -> dict[str, float]:
    """Joules of one image by component: counts times prices, one action after the other."""
    this_chip = found.mapping.chip
    bill = price_chip(this_chip, found.mapping.network.classes)
    activity, joules = found.activity, dict.fromkeys(COMPONENTS, 0.0)
    for price in bill.prices:
        for layer in range(len(activity.layers)):
            if price.action in FIXED_ACTIONS:
                a = list(FIXED_ACTIONS).index(price.action)
                count = int(activity.fixed_once[layer, a])
                count += steps * int(activity.fixed_step[layer, a])
            else:
                a = list(MEASURED_ACTIONS).index(price.action)
                count = int(activity.measured_once[image, layer, a])
                count += sum(int(activity.measured_step[image, t, layer, a]) for t in range(steps))
            joules[price.component] += count * price.energy_j
    return joules


@pytest.mark.parametrize("which", ["dynamic", "static"])
def test_energy_is_counts_times_prices_and_leakage_times_time(which: str) -> None:
    found = result(**FOUR)
    outcome: Outcome = getattr(found, which)
    bill = price_chip(found.mapping.chip, 10)
    mean = dict.fromkeys(COMPONENTS, 0.0)
    for image in range(IMAGES):
        steps = int(outcome.steps[image])
        joules = slow_energy(found, image, steps)
        if which == "dynamic":
            joules["sigma_e"] = steps * bill.sigma_e_j
        joules["leakage"] = sum(bill.leakage_w.values()) * outcome.cycles[image] / found.clock_hz
        assert outcome.energy_j[image] == pytest.approx(sum(joules.values()), rel=1e-12)
        for name, value in joules.items():
            mean[name] += value / IMAGES
    assert outcome.energy_by_component_j == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("which", ["dynamic", "static"])
def test_components_and_layers_sum_to_the_total(which: str) -> None:
    found = result(**FOUR)
    outcome: Outcome = getattr(found, which)
    parts = outcome.energy_by_component_j
    assert tuple(parts) == COMPONENTS
    total = float(outcome.energy_j.mean())
    assert math.fsum(parts.values()) == pytest.approx(total, rel=1e-9)
    layers = float(outcome.energy_by_layer_j.sum())
    assert layers + parts["leakage"] + parts["sigma_e"] == pytest.approx(total, rel=1e-9)


def test_a_static_network_costs_once_plus_its_timesteps() -> None:
    found = result(**FOUR)
    assert found.static is not None
    for image in range(IMAGES):
        steps = [float(found.step_energy_j[image, t]) for t in range(found.timesteps)]
        expected = float(found.once_energy_j[image]) + sum(steps)
        assert found.static.energy_j[image] == pytest.approx(expected, rel=1e-12)
        cycles = found.timing.once_cycles + sum(found.timing.step_cycles)
        assert found.static.cycles[image] == cycles
    assert found.static.energy_by_component_j["sigma_e"] == 0


def test_a_dynamic_image_also_pays_for_its_exit_decisions() -> None:
    found = result(**FOUR)
    assert set(found.dynamic.steps) > {1}, "an image must go on for this test to mean anything"
    for image, steps in enumerate(found.dynamic.steps):
        expected = float(found.once_energy_j[image] + found.step_energy_j[image, :steps].sum())
        expected += int(steps) * found.sigma_e_energy_j
        assert found.dynamic.energy_j[image] == pytest.approx(expected, rel=1e-12)
        cycles = found.timing.once_cycles + sum(found.timing.step_cycles[:steps])
        assert found.dynamic.cycles[image] == cycles + int(steps) * found.sigma_e_cycles


@pytest.fixture(scope="module")
def silent() -> Workload:
    """Digits with thresholds that no potential reaches: every timestep does the same."""
    workload = digits()
    layers = tuple(
        dataclasses.replace(layer, threshold=np.full_like(layer.threshold, 32767))
        if layer.spikes and layer.threshold is not None
        else layer
        for layer in workload.network.layers
    )
    network = dataclasses.replace(workload.network, layers=layers)
    return dataclasses.replace(workload, network=network)


def test_two_equal_timesteps_cost_twice_one(silent: Workload) -> None:
    one, two = (
        run(chip(), silent, RunOptions(images=3, timesteps=t, policy="static")) for t in (1, 2)
    )
    assert one.static is not None
    assert two.static is not None
    assert not one.spikes[:, :, :-1].any()
    np.testing.assert_array_equal(two.step_energy_j[:, 0], two.step_energy_j[:, 1])
    once_j, once_cycles = one.once_energy_j, one.timing.once_cycles
    np.testing.assert_allclose(
        two.static.energy_j - once_j, 2 * (one.static.energy_j - once_j), rtol=1e-12
    )
    np.testing.assert_array_equal(
        two.static.cycles - once_cycles, 2 * (one.static.cycles - once_cycles)
    )


def slow_steps(found: RunResult, name: str, theta: float) -> list[int]:
    """The exit of each image, one timestep after the other."""
    exits = []
    for image in range(found.images):
        for t in range(found.timesteps):
            score = {
                "static": False,
                "entropy": found.scores.entropy[image, t] < theta,
                "confidence": found.scores.confidence[image, t] > theta,
                "margin": found.scores.margin[image, t] > theta,
                "oracle": found.scores.predictions[image, t] == found.labels[image],
            }[name]
            if score or t == found.timesteps - 1:
                exits.append(t + 1)
                break
    return exits


POLICIES = [
    ("static", None),
    ("entropy", 0.2),
    ("confidence", 0.9),
    ("margin", 3.0),
    ("oracle", None),
]


@pytest.mark.needs_jit
@pytest.mark.parametrize(("name", "theta"), POLICIES)
def test_an_image_exits_when_its_policy_says_so(name: str, theta: float | None) -> None:
    found = result(policy=name, theta=theta)
    assert found.dynamic.steps.tolist() == slow_steps(found, name, theta or 0.0)
    expected = [found.scores.predictions[i, t - 1] for i, t in enumerate(found.dynamic.steps)]
    assert found.dynamic.predictions.tolist() == expected
    pays = found.dynamic.energy_by_component_j["sigma_e"] > 0
    assert pays == (name in ("entropy", "confidence", "margin"))


@pytest.mark.needs_jit
@pytest.mark.parametrize(("name", "theta"), POLICIES)
def test_stopping_at_the_exit_changes_no_dynamic_number(name: str, theta: float | None) -> None:
    full, short = (result(policy=name, theta=theta, static=s) for s in (True, False))
    assert short.static is None
    np.testing.assert_array_equal(short.activity.simulated, short.dynamic.steps)
    np.testing.assert_array_equal(full.dynamic.steps, short.dynamic.steps)
    np.testing.assert_array_equal(full.dynamic.predictions, short.dynamic.predictions)
    np.testing.assert_array_equal(full.dynamic.energy_j, short.dynamic.energy_j)
    np.testing.assert_array_equal(full.dynamic.cycles, short.dynamic.cycles)
    assert full.summary() | {"static": None} == short.summary()


def test_a_threshold_for_each_timestep() -> None:
    found = result(policy="entropy", theta=(0.0, 1.0, 0.0), images=2)
    assert found.dynamic.steps.tolist() == [2, 2]
    assert found.summary()["theta"] == [0.0, 1.0, 0.0]


@pytest.mark.needs_jit
def test_fewer_timesteps_are_the_first_ones_of_more() -> None:
    two, four = result(timesteps=2, policy="static"), result(policy="static")
    np.testing.assert_array_equal(two.logits, four.logits[:, :2])
    np.testing.assert_array_equal(two.step_energy_j, four.step_energy_j[:, :2])
    assert two.timing.step_cycles == four.timing.step_cycles[:2]


@pytest.mark.needs_jit
def test_fewer_images_are_the_first_ones_of_more() -> None:
    few, many = result(images=5), result()
    np.testing.assert_array_equal(few.logits, many.logits[:5])
    np.testing.assert_array_equal(few.dynamic.energy_j, many.dynamic.energy_j[:5])


@pytest.mark.needs_jit
@pytest.mark.parametrize("options", [{"jobs": 2}, {"jobs": 2, "memory_bytes": 100_000}])
def test_workers_and_batches_change_no_number(options: dict[str, Any]) -> None:
    alone, shared = result(**FOUR), result(**FOUR, **options)
    assert alone.summary() == shared.summary()
    np.testing.assert_array_equal(alone.logits, shared.logits)
    np.testing.assert_array_equal(alone.step_energy_j, shared.step_energy_j)
    for name, array in alone.activity.arrays().items():
        np.testing.assert_array_equal(array, shared.activity.arrays()[name])


@pytest.mark.needs_jit
def test_a_seed_is_a_chip_and_a_chip_without_variation_is_every_seed() -> None:
    first, second = result("device.variation=0.2"), result("device.variation=0.2", seed=1)
    assert (first.logits != second.logits).any()
    ideal = [result("device.variation=0", seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(ideal[0].logits, ideal[1].logits)


@pytest.mark.needs_jit
def test_first_layer_currents_that_are_kept_make_later_timesteps_cheaper() -> None:
    again = result("device.variation=0")
    kept = result("device.variation=0", "dataflow.first_layer=once")
    np.testing.assert_array_equal(again.logits, kept.logits)
    assert len(set(again.timing.step_cycles)) == 1
    assert kept.timing.step_cycles[1] < kept.timing.step_cycles[0]
    assert kept.static is not None
    expected = kept.once_energy_j + kept.step_energy_j.sum(axis=1)
    np.testing.assert_allclose(kept.static.energy_j, expected, rtol=1e-12)


def test_event_frames_run_like_images() -> None:
    workload = random_workload(events_network())
    found = run(chip(), workload, RunOptions(policy="static"))
    assert found.logits.shape == (6, 3, 3)
    assert found.summary()["timesteps_histogram"] == [0, 0, 6]


@pytest.mark.needs_jit
def test_the_reference_is_matched_on_the_golden_images() -> None:
    found = result(verify=True)
    assert found.verification is not None
    assert found.verification.images == len(digits().golden_logits)
    assert found.verification.values > 0
    assert result().verification is None


def test_a_workload_that_its_reference_does_not_match_fails_the_verification() -> None:
    golden = digits().golden_logits.copy()
    golden[1, 2, 3] += 1
    damaged = dataclasses.replace(digits(), golden_logits=golden)
    with pytest.raises(ImcsimError, match="golden_logits of image 1, timestep 3, class 3") as found:
        run(chip(), damaged, RunOptions(images=1, verify=True))
    assert found.value.exit_code == 1


class _Diary(Progress):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.images = 0

    def stage(self, name: str, total: int = 0) -> None:
        self.stages.append((name, total))

    def advance(self, images: int) -> None:
        self.images += images


@pytest.mark.needs_jit
def test_progress_is_told_of_every_image() -> None:
    diary = _Diary()
    run(chip(), digits(), RunOptions(images=IMAGES, jobs=2, verify=True), progress=diary)
    assert ("running images", IMAGES) in diary.stages
    assert diary.images == IMAGES
    assert len({name for name, _ in diary.stages}) == len(diary.stages)


def test_what_does_not_fit_is_refused_before_any_image_runs() -> None:
    diary = _Diary()
    small = load_chip(ARCH, (*CHEAP, "pe.buffer_bytes=1"))
    with pytest.raises(MappingError, match=r"pe\.buffer_bytes is 1"):
        run(small, digits(), RunOptions(images=1), progress=diary)
    assert "running images" not in dict(diary.stages)


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="--memory 1: 1 worker needs at least"):
        run(chip(), digits(), RunOptions(images=1, memory_bytes=1))


def test_files_are_to_be_read_first() -> None:
    with pytest.raises(UsageError, match=r"^chip: a Chip is needed, not str \(imcsim\.load_chip"):
        run("arch/rram64.yaml", digits())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^workload: .* not str \(imcsim\.read_workload\(path"):
        run(chip(), "workloads/digits.npz")  # type: ignore[arg-type]
