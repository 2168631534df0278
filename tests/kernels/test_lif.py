from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.lif import LANES, fits_32_bits, lif_step, lif_step_32


def step(
    u: Any, acc: Any, *, threshold: int = 100, bias: int = 0, multiplier: int = 1, shift: int = 1,
    fraction: int = 0, width: int = 16, hard: bool = True, identity: Any = None, current: int = 0,
    channels: int = 1, kernel: Any = lif_step,
) -> tuple[list[int], list[int], int]:  # fmt: skip
    """One timestep of independent neurons: potentials, spikes, saturations; checks the number of
    spikes. The neurons stand side by side in `channels` channels."""
    shape = (1, -1, channels)
    potentials = np.array(u, np.int32).reshape(shape)
    spikes = np.full(potentials.shape, 9, np.uint8)
    shortcut = np.zeros((0, 1, channels), np.uint8)
    if identity is not None:
        shortcut = np.array(identity, np.uint8).reshape(shape)
    saturated, sent = np.full(1, 9, np.int64), np.full(1, 9, np.int64)
    kernel(
        potentials, np.array(acc, np.int32).reshape(shape), shortcut,
        *(np.full(channels, value, np.int32) for value in (current, threshold, bias)),
        multiplier, shift, fraction, width, hard, spikes, saturated, sent,
    )  # fmt: skip
    assert sent[0] == spikes.sum()
    return potentials.ravel().tolist(), spikes.ravel().tolist(), int(saturated[0])


def twin(
    u: int, acc: int, identity: int, current: int, threshold: int, bias: int,
    multiplier: int, shift: int, fraction: int, width: int, hard: bool,
) -> tuple[int, int, bool]:  # fmt: skip
    """One neuron in Python's unbounded integers; floor((u·m + 2^(n−1)) / 2^n) is the leak."""
    half = 2 ** (shift - 1) if shift else 0
    free = (u * multiplier + half) // 2**shift + acc * 2**fraction + bias + identity * current
    v = max(min(free, 2 ** (width - 1) - 1), -(2 ** (width - 1)))
    if v <= threshold:
        return v, 0, v != free
    return 0 if hard else v - threshold, 1, v != free


NEURONS = st.lists(
    st.tuples(st.floats(-1, 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 1)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=150)
@given(
    neurons=NEURONS,
    leak=st.sampled_from([(1, 0), (1, 1), (3, 2), (7, 3), (65535, 16), (1, 16)]),
    fraction=st.integers(0, 16),
    width=st.integers(4, 32),
    hard=st.booleans(),
    small=st.booleans(),
    with_identity=st.booleans(),
    parameters=st.tuples(st.floats(0, 1), st.integers(-1000, 1000), st.integers(-1000, 1000)),
)
def test_the_kernel_equals_unbounded_integer_arithmetic(
    neurons: list[tuple[float, int, int]],
    leak: tuple[int, int],
    fraction: int,
    width: int,
    hard: bool,
    small: bool,
    with_identity: bool,
    parameters: tuple[float, int, int],
) -> None:
    highest = 2 ** (width - 1) - 1
    u = [round(share * highest) for share, _, _ in neurons]
    acc = [value >> 26 if small else value for _, value, _ in neurons]
    identity = [spike for _, _, spike in neurons] if with_identity else None
    threshold, bias, current = 1 + int(parameters[0] * (highest - 2)), *parameters[1:]
    found = step(
        u, acc, threshold=threshold, bias=bias, multiplier=leak[0], shift=leak[1],
        fraction=fraction, width=width, hard=hard, identity=identity, current=current,
    )  # fmt: skip
    expected = [
        twin(*each, current, threshold, bias, *leak, fraction, width, hard)
        for each in zip(u, acc, identity or [0] * len(u), strict=True)
    ]
    assert found == (
        [e[0] for e in expected], [e[1] for e in expected], sum(e[2] for e in expected)
    )  # fmt: skip


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    leak=st.sampled_from([(1, 0), (1, 1), (3, 2), (7, 3), (255, 8)]),
    fraction=st.integers(0, 16),
    width=st.integers(4, 20),
    hard=st.booleans(),
    shift=st.sampled_from([0, 12, 26]),
    with_identity=st.booleans(),
    currents=st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)),
)
def test_vectors_of_neurons_do_what_single_ones_do(
    seed: int,
    leak: tuple[int, int],
    fraction: int,
    width: int,
    hard: bool,
    shift: int,
    with_identity: bool,
    currents: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    highest = 2 ** (width - 1) - 1
    shape = (3, 2 * LANES)
    assert fits_32_bits(shape[1], leak[0], fraction, width, 2000)
    u = rng.integers(-highest - 1, highest, shape, endpoint=True)
    acc = rng.integers(-(2**31), 2**31 - 1, shape, endpoint=True) >> shift
    identity = rng.integers(0, 2, shape) if with_identity else None
    fast, slow = (
        step(
            u, acc, threshold=highest // 2,
            bias=currents[0], multiplier=leak[0], shift=leak[1], fraction=fraction, width=width,
            hard=hard, identity=identity, current=currents[1], channels=shape[1], kernel=kernel,
        )
        for kernel in (lif_step_32, lif_step)
    )  # fmt: skip
    assert fast == slow


def test_vectors_of_neurons_are_refused_where_32_bits_are_too_few() -> None:
    assert fits_32_bits(LANES, 1, 4, 16, 1000)
    assert not fits_32_bits(LANES + 1, 1, 4, 16, 1000)
    assert not fits_32_bits(LANES, 65535, 4, 16, 1000)
    assert not fits_32_bits(LANES, 1, 17, 16, 1000)
    assert not fits_32_bits(LANES, 1, 4, 32, 1000)
    assert not fits_32_bits(LANES, 1, 4, 16, 2**28)


def test_a_neuron_at_the_threshold_does_not_fire() -> None:
    assert step([0, 0], [100, 101]) == ([100, 0], [0, 1], 0)


def test_a_soft_reset_keeps_what_is_above_the_threshold() -> None:
    assert step([0], [130], hard=False) == ([30], [1], 0)


@pytest.mark.parametrize(("acc", "left"), [(40_000, 2**15 - 1), (-40_000, -(2**15))])
def test_a_potential_beyond_its_width_saturates_once(acc: int, left: int) -> None:
    assert step([0], [acc], threshold=2**15 - 1) == ([left], [0], 1)


def test_a_potential_at_the_end_of_its_width_is_not_a_saturation() -> None:
    assert step([0, 0], [2**15 - 1, -(2**15)], threshold=2**15 - 1)[2] == 0


def test_halving_rounds_to_the_nearest_and_halves_up() -> None:
    # Floor of (u + 1) / 2: −1 leaks to 0, −3 to −1, 3 to 2.
    assert step([-1, -3, 3, 5], [0, 0, 0, 0])[0] == [0, -1, 2, 3]


def test_an_identity_spike_adds_its_current() -> None:
    assert step([0, 0], [90, 90], identity=[0, 1], current=11) == ([90, 0], [0, 1], 0)


def test_a_constant_current_settles_at_current_over_one_minus_tau() -> None:
    u = [0]
    for _ in range(60):
        u, _, _ = step(u, [64], threshold=2**14, fraction=4)
    assert abs(u[0] - 2 * 64 * 16) <= 1
