"""What may be asked of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from imcsim.errors import UsageError
from imcsim.simulator.options import RunOptions, resolve
from tests.simulator.digits import digits
from tests.small_networks import events_network, linear_network, random_workload


def test_defaults_come_from_the_workload() -> None:
    workload = digits()
    asked = resolve(RunOptions(), workload)
    assert len(asked.images) == len(asked.labels) == min(256, len(workload.images))
    assert asked.timesteps == workload.network.timesteps
    assert asked.policy.name == workload.policy
    assert asked.policy.theta == (workload.theta[workload.policy][workload.accumulate],)
    assert asked.static
    assert asked.jobs >= 1


def test_a_small_set_is_run_whole() -> None:
    workload = random_workload(linear_network(), n=5)
    assert len(resolve(RunOptions(), workload).images) == 5


def test_there_are_never_more_workers_than_images() -> None:
    assert resolve(RunOptions(images=3, jobs=64), digits()).jobs == 3


@pytest.mark.parametrize("policy", ["static", "oracle"])
def test_a_policy_without_threshold_needs_none(policy: str) -> None:
    assert resolve(RunOptions(policy=policy), digits()).policy.theta == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "--images 0: must be at least 1"),
        ({"images": -3}, "--images -3: must be at least 1"),
        ({"images": 10**6}, "--images 1000000: only 400 available"),
        ({"timesteps": 0}, "--timesteps 0: must be 1 to 4096"),
        ({"timesteps": 4097}, "--timesteps 4097: must be 1 to 4096"),
        ({"jobs": 0}, "--jobs 0: must be at least 1"),
        ({"seed": -1}, "--seed -1: must be 0 to"),
        ({"seed": 1 << 64}, "--seed 18446744073709551616: must be 0 to"),
        ({"memory_bytes": 0}, "--memory 0: must be at least 1 byte"),
        ({"policy": "entrpoy"}, 'no exit policy "entrpoy", did you mean "entropy"?'),
        ({"policy": "static", "theta": 0.5}, "exit policy static takes no threshold"),
        ({"policy": "entropy", "theta": 1.5}, "threshold 1.5 of exit policy entropy"),
        ({"theta": float("nan")}, "threshold nan of exit policy entropy"),
        ({"theta": (0.1, 0.2)}, "2 thresholds for 4 timesteps"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(RunOptions(**options), digits())
    assert str(caught.value).startswith(message)


def test_a_policy_that_was_not_calibrated_needs_a_threshold() -> None:
    workload = random_workload(linear_network())
    with pytest.raises(UsageError, match="no calibrated threshold for exit policy margin"):
        resolve(RunOptions(policy="margin"), workload)
    asked = resolve(RunOptions(policy="margin", theta=2.0), workload)
    assert asked.policy.theta == (2.0,)


def test_calibrated_thresholds_by_timestep_do_not_suit_another_number_of_timesteps() -> None:
    workload = random_workload(linear_network(timesteps=3), accumulate="mean")
    assert resolve(RunOptions(), workload).policy.theta == (0.2, 0.2, 0.2)
    with pytest.raises(UsageError, match="thresholds of tiny are for 3 timesteps: give --theta"):
        resolve(RunOptions(timesteps=2), workload)


def test_event_frames_cannot_be_made_up() -> None:
    workload = random_workload(events_network(timesteps=3))
    assert resolve(RunOptions(timesteps=2), workload).timesteps == 2
    with pytest.raises(UsageError, match="--timesteps 4: must be 1 to 3"):
        resolve(RunOptions(timesteps=4), workload)


@pytest.mark.parametrize(
    ("shape", "label", "message"),
    [
        ((5, 1, 8, 7), 0, r"--data: images are \(1, 8, 7\), digits takes \(1, 8, 8\)"),
        ((5, 4, 1, 8, 8), 0, r"--data: images are \(4, 1, 8, 8\)"),
        ((5, 1, 8, 8), 10, "--data: label 10 found, digits has classes 0..9"),
        ((5, 1, 8, 8), -1, "--data: label -1 found"),
    ],
)
def test_other_images_must_suit_the_network(
    shape: tuple[int, ...], label: int, message: str
) -> None:
    data = np.zeros(shape, np.uint8), np.array([0, 1, label, 3, 4], np.int64)
    with pytest.raises(UsageError, match=message):
        resolve(RunOptions(), digits(), data)


@pytest.mark.parametrize("shape", [(5, 3, 2, 6, 5), (5, 2, 2, 6, 6), (5, 2, 6, 6)])
def test_other_frames_must_suit_the_network(shape: tuple[int, ...]) -> None:
    workload = random_workload(events_network(timesteps=3))
    with pytest.raises(UsageError, match=r"--data: frames are .*, tiny takes \(3, 2, 6, 6\)"):
        resolve(RunOptions(), workload, (np.zeros(shape, np.uint8), np.zeros(5, np.int64)))


def test_other_images_are_the_ones_that_run() -> None:
    data = np.full((3, 1, 8, 8), 7, np.uint8), np.array([1, 2, 3])
    asked = resolve(RunOptions(), digits(), data)
    np.testing.assert_array_equal(asked.images, data[0])
    np.testing.assert_array_equal(asked.labels, data[1])


def test_processors_are_counted_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert resolve(RunOptions(), digits()).jobs == 3


def test_options_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunOptions().seed = 1  # type: ignore[misc]
