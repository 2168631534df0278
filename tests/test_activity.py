from __future__ import annotations

import numpy as np

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS, Activity


def made(images: int = 2, timesteps: int = 3) -> Activity:
    fixed, measured = len(FIXED_ACTIONS), len(MEASURED_ACTIONS)
    rng = np.random.default_rng(0)

    def counts(*shape: int) -> np.ndarray:
        return rng.integers(0, 2**40, shape)

    return Activity(
        ("conv", "fc"), counts(2, fixed), counts(2, fixed), counts(images, 2, measured),
        counts(images, timesteps, 2, measured), np.full(images, timesteps),
    )  # fmt: skip


def test_sizes_follow_from_the_counts() -> None:
    assert (made(5, 4).images, made(5, 4).timesteps) == (5, 4)


def test_an_action_is_either_fixed_or_measured_and_is_explained() -> None:
    assert not FIXED_ACTIONS.keys() & MEASURED_ACTIONS.keys()
    for name, meaning in (FIXED_ACTIONS | MEASURED_ACTIONS).items():
        assert name.isidentifier()
        assert meaning.startswith("one ") or "summed" in meaning


def test_arrays_hold_every_count_with_its_names() -> None:
    activity = made()
    arrays = activity.arrays()
    assert arrays["layers"].tolist() == ["conv", "fc"]
    assert arrays["fixed_actions"].tolist() == list(FIXED_ACTIONS)
    assert arrays["measured_actions"].tolist() == list(MEASURED_ACTIONS)
    for name in ("fixed_once", "fixed_step", "measured_once", "measured_step", "simulated"):
        np.testing.assert_array_equal(arrays[name], getattr(activity, name))
    # No Python objects: the file is read without pickle.
    assert all(array.dtype != object for array in arrays.values())
