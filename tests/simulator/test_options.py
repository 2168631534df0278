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
        ({"images": 2.5}, "--images 2.5: must be a whole number"),
        ({"images": True}, "--images True: must be a whole number"),
        ({"timesteps": "4"}, "--timesteps '4': must be a whole number"),
        ({"seed": None}, "--seed None: must be a whole number"),
        ({"jobs": 1.0}, "--jobs 1.0: must be a whole number"),
        ({"memory_bytes": 1e9}, "--memory 1000000000.0: must be a whole number"),
        ({"theta": True}, "--theta True: must be a number, or one per timestep"),
        ({"theta": "0.2"}, "--theta '0.2': must be a number"),
        ({"theta": (0.1, None, 0.3)}, "--theta (0.1, None, 0.3): must be a number"),
        ({"policy": 3}, "--exit 3: must be the name of an exit policy"),
        ({"theta": (0.1, 0.2), "timesteps": 1}, "2 thresholds for 1 timestep: give one"),
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


def test_numbers_of_numpy_become_python_s() -> None:
    options = RunOptions(images=np.int64(3), seed=np.uint8(5), theta=np.array(0.5))  # type: ignore[arg-type]
    asked = resolve(options, digits())
    assert (len(asked.images), asked.seed, asked.policy.theta) == (3, 5, (0.5,))
    assert type(asked.seed) is int


GOOD = np.zeros((3, 1, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD, "--data: a pair (images, labels) is needed, not ndarray"),
        ((GOOD / 255, [0, 1, 2]), "--data: images are float64, a uint8 array is needed (scale to"),
        ((GOOD.tolist(), [0, 1, 2]), "--data: images are list, a uint8 array is needed"),
        ((GOOD, None), "--data: there are no labels"),
        ((GOOD, np.eye(3, 10)), "--data: labels are float64 of shape (3, 10), one class number"),
        ((GOOD, [0.0, 1.0, 2.0]), "--data: labels are float64 of shape (3,)"),
        ((GOOD, [[0], [1, 2], [3]]), "--data: labels differ in length"),
        ((GOOD, [0, 1]), "--data: 3 images, but 2 labels"),
        ((GOOD[:0], []), "--data: there are no images"),
    ],
)
def test_data_of_another_program_is_judged_by_its_types(data: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(RunOptions(), digits(), data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_labels_may_be_a_list() -> None:
    asked = resolve(RunOptions(), digits(), (GOOD, [1, 2, 3]))  # type: ignore[arg-type]
    assert asked.labels.dtype == np.int64
    assert asked.labels.tolist() == [1, 2, 3]
