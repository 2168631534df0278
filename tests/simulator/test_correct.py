"""A chip corrected from its calibration images, as a whole run."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from imcsim.errors import UsageError
from imcsim.functional.thresholds import calibrate_all
from imcsim.network import Workload
from imcsim.network.reference import run_reference
from imcsim.simulator import RunOptions, RunResult, run
from tests.simulator.digits import IMAGES, chip, digits, result
from tests.simulator.test_result import PROMISED

IDEAL = ("device.variation=0", "adc.range=lossless", "adc.bits=12")
CELLS = ("device.variation_model=device", "mapping.signed_weights=differential")
CHANNELS, THETA = "correction.channels=true", "correction.theta=true"
FEW = "correction.images=40"


def small() -> Workload:
    """Digits whose threshold is calibrated on an ideal chip with 40 images."""
    workload = digits()
    images, labels = workload.calibration_images[:40], workload.calibration_labels[:40]
    logits = run_reference(workload.network, images).logits
    theta = calibrate_all(logits, labels, workload.network.logit_scale)
    return dataclasses.replace(workload, theta={name: dict(t) for name, t in theta.items()})


def same(one: RunResult, other: RunResult) -> None:
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.spikes, other.spikes)
    np.testing.assert_array_equal(one.dynamic.steps, other.dynamic.steps)
    np.testing.assert_array_equal(one.dynamic.energy_j, other.dynamic.energy_j)


def test_a_chip_that_asks_for_nothing_says_nothing() -> None:
    found = result()
    assert found.correction is None
    assert set(found.summary()) == PROMISED


@pytest.mark.needs_jit
@pytest.mark.parametrize("policy", ["entropy", "confidence", "margin"])
def test_an_ideal_chip_stays_as_it_is(policy: str) -> None:
    workload, options = small(), RunOptions(images=IMAGES, policy=policy)
    before = run(chip(*IDEAL), workload, options)
    after = run(chip(*IDEAL, CHANNELS, THETA, FEW), workload, options)
    same(before, after)
    assert after.correction is not None
    assert after.correction.theta == workload.theta[policy]["sum"]
    summary = after.summary()
    assert summary.pop("correction")["channels"] == {
        "channels": 58, "left_alone": 0, "clipped": 0, "gain_mean": 1.0, "gain_std": 0.0,
    }  # fmt: skip
    assert summary == before.summary()


@pytest.mark.needs_jit
def test_the_shipped_threshold_is_found_again() -> None:
    """It was calibrated on the same 200 images, with the numpy reference."""
    found = result(*IDEAL, THETA)
    assert found.policy.theta == (digits().theta["entropy"]["sum"],)


@pytest.mark.needs_jit
def test_correcting_channels_repairs_chips_with_noisy_cells() -> None:
    def accuracies(*overrides: str) -> list[float]:
        found = [
            result("device.variation_model=device", *overrides, images=200, seed=seed)
            for seed in range(4)
        ]
        return [float((r.static.predictions == r.labels).mean()) for r in found if r.static]

    plain, corrected = accuracies(), accuracies(CHANNELS)
    assert np.mean(corrected) - np.mean(plain) > 0.1
    assert min(corrected) > min(plain)


@pytest.mark.needs_jit
def test_a_calibrated_threshold_keeps_the_accuracy_on_the_calibration_images() -> None:
    workload = digits()
    swapped = dataclasses.replace(
        workload, images=workload.calibration_images[:60], labels=workload.calibration_labels[:60]
    )
    found = run(chip(*CELLS, THETA, "correction.images=60"), swapped, RunOptions(images=60))
    dynamic, static = found.dynamic, found.static
    assert static is not None
    assert (dynamic.predictions == found.labels).sum() >= (static.predictions == found.labels).sum()
    assert dynamic.steps.mean() < static.steps.mean()


@pytest.mark.needs_jit
def test_what_is_charged_does_not_change() -> None:
    plain, corrected = result(*CELLS, policy="static"), result(*CELLS, CHANNELS, policy="static")
    assert corrected.area_by_component_m2 == plain.area_by_component_m2
    assert corrected.timing.step_cycles == plain.timing.step_cycles
    np.testing.assert_array_equal(corrected.once_energy_j, plain.once_energy_j)


def test_a_threshold_that_is_given_wins() -> None:
    found = result(THETA, FEW, theta=0.2)
    assert found.policy.theta == (0.2,)
    assert found.summary()["correction"] == {"images": 40, "channels": None, "theta": None}


@pytest.mark.parametrize("policy", ["static", "oracle"])
def test_a_policy_without_threshold_is_given_none(policy: str) -> None:
    found = result(THETA, FEW, policy=policy)
    assert found.policy.theta == ()
    assert found.correction is not None
    assert found.correction.theta is None


@pytest.mark.needs_jit
def test_only_as_many_images_are_used_as_the_chip_says() -> None:
    workload = digits()
    fewer = dataclasses.replace(
        workload,
        calibration_images=workload.calibration_images[:25],
        calibration_labels=workload.calibration_labels[:25],
    )
    options = RunOptions(images=IMAGES)
    limited = run(chip(*CELLS, CHANNELS, THETA, "correction.images=25"), workload, options)
    same(limited, run(chip(*CELLS, CHANNELS, THETA), fewer, options))
    assert limited.correction is not None
    assert limited.correction.images == 25


@pytest.mark.needs_jit
@pytest.mark.parametrize("options", [{"jobs": 3}, {"jobs": 1, "memory_bytes": 100_000}])
def test_neither_workers_nor_memory_change_a_corrected_chip(options: dict[str, int]) -> None:
    same(result(*CELLS, CHANNELS, THETA, FEW), result(*CELLS, CHANNELS, THETA, FEW, **options))


@pytest.mark.needs_jit
def test_the_summary_is_plain_json() -> None:
    summary = result(*CELLS, CHANNELS, THETA, FEW).summary()
    assert set(summary) == PROMISED | {"correction"}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["theta"] == summary["correction"]["theta"]


def test_a_threshold_needs_calibration_images() -> None:
    workload = digits()
    none = dataclasses.replace(
        workload,
        calibration_images=workload.calibration_images[:0],
        calibration_labels=workload.calibration_labels[:0],
    )
    overrides = ("adc.range=lossless", "adc.bits=12", THETA)
    with pytest.raises(UsageError, match="theta: digits has no calibration images"):
        run(chip(*overrides), none, RunOptions(images=2))
