"""The numpy reference against a scalar twin in plain Python, and against hand calculation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imcsim.network.layers import Layer, Network, Neuron
from imcsim.network.reference import leak, lif, run_reference
from tests.small_networks import (
    HALF,
    SMALL_NETWORKS,
    linear,
    max_pool_network,
    random_images,
    random_network,
)

Map = list[list[list[int]]]
"""Integers by channel, row and column."""


def scalar_run(network: Network, image: np.ndarray) -> tuple[list[list[Map]], list[int]]:
    """One image through `network`, one number at a time: per timestep and layer a map; saturations
    per layer.
    """
    potentials = [
        {position: 0 for position in np.ndindex(layer.output_shape)} for layer in network.layers
    ]
    saturations = [0] * len(network.layers)
    steps = []
    for t in range(network.timesteps):
        pixels = image[t] if network.encoding == "events" else image
        frame = [
            [[int(network.input_table[c][p]) for p in row] for row in plane]
            for c, plane in enumerate(pixels.tolist())
        ]
        outputs: list[Map] = []
        for i, layer in enumerate(network.layers):
            x = frame if layer.source == -1 else outputs[layer.source]
            out = np.zeros(layer.output_shape, int).tolist()
            for c, y, z in np.ndindex(layer.output_shape):
                value = scalar_sum(layer, x, c, y, z)
                if layer.spikes:
                    value, clipped = scalar_neuron(
                        network.neuron, layer, potentials[i], (c, y, z), value, outputs
                    )
                    saturations[i] += clipped
                elif layer.bias is not None:
                    value += int(layer.bias[c])
                out[c][y][z] = value
            outputs.append(out)
        steps.append(outputs)
    return steps, saturations


def scalar_sum(layer: Layer, x: Map, c: int, y: int, z: int) -> int:
    if layer.kind == "linear":
        assert layer.weight is not None
        flat = [value for plane in x for row in plane for value in row]
        return sum(int(w) * v for w, v in zip(layer.weight[c], flat, strict=True))
    _, height, width = layer.input_shape
    values = []
    for dy in range(layer.kernel):
        for dx in range(layer.kernel):
            row = y * layer.stride + dy - layer.padding
            column = z * layer.stride + dx - layer.padding
            if not (0 <= row < height and 0 <= column < width):
                continue
            if layer.is_pool:
                values.append(x[c][row][column])
                continue
            assert layer.weight is not None
            values.extend(
                int(layer.weight[c, k, dy, dx]) * x[k][row][column]
                for k in range(layer.input_shape[0])
            )
    return max(values) if layer.kind == "max_pool" else sum(values)


def scalar_neuron(
    neuron: Neuron,
    layer: Layer,
    potentials: dict[tuple[int, ...], int],
    position: tuple[int, int, int],
    acc: int,
    outputs: list[Map],
) -> tuple[int, int]:
    """Update one neuron; returns its spike and whether its potential was clipped."""
    c, y, z = position
    assert layer.threshold is not None and layer.bias is not None
    extra = int(layer.bias[c])
    if layer.residual is not None:
        added = outputs[layer.residual][c][y][z]
        if layer.residual_current is None:
            acc += added
        else:
            extra += added * int(layer.residual_current[c])
    u = potentials[position] * neuron.leak_multiplier
    if neuron.leak_shift:
        u = (u + 2 ** (neuron.leak_shift - 1)) // 2**neuron.leak_shift
    free = u + acc * 2**neuron.fraction_bits + extra
    v = min(max(free, -(2 ** (neuron.membrane_bits - 1))), 2 ** (neuron.membrane_bits - 1) - 1)
    theta = int(layer.threshold[c])
    spike = int(v > theta)
    if spike:
        potentials[position] = v - theta if neuron.reset == "soft" else 0
    else:
        potentials[position] = v
    return spike, int(v != free)


NEURONS = [
    HALF,
    Neuron(3, 2, "soft", 4, 16),
    Neuron(1, 0, "soft", 0, 16),
    Neuron(230, 8, "hard", 2, 14),
    Neuron(1, 3, "soft", 6, 20),
]


@pytest.mark.parametrize("name", SMALL_NETWORKS)
@settings(max_examples=6)
@given(seed=st.integers(0, 2**20), neuron=st.sampled_from(NEURONS))
@example(seed=0, neuron=HALF)
def test_matches_the_scalar_twin_bit_for_bit(name: str, seed: int, neuron: Neuron) -> None:
    network = SMALL_NETWORKS[name](seed=seed, neuron=neuron, timesteps=2)
    image = random_images(network, 1, seed)
    run = run_reference(network, image, record=True)
    steps, saturations = scalar_run(network, image[0])
    assert run.outputs is not None
    for t, outputs in enumerate(steps):
        for i, expected in enumerate(outputs):
            np.testing.assert_array_equal(run.outputs[i][0, t], expected, err_msg=f"{i}, {t}")
        np.testing.assert_array_equal(run.logits[0, t], np.ravel(outputs[-1]))
    assert run.saturations.tolist() == saturations


@given(u=st.integers(-(2**31), 2**31 - 1), m=st.integers(1, 2**16), n=st.integers(0, 16))
@example(u=-1, m=1, n=1)
@example(u=-3, m=1, n=1)
def test_the_leak_rounds_half_up_whatever_the_sign(u: int, m: int, n: int) -> None:
    """floor(u·m / 2^n + 1/2), in exact fractions."""
    expected = (2 * u * m + 2**n) // (2 * 2**n) if n else u * m
    assert leak(np.array([u]), Neuron(m, n, "hard", 4, 32))[0] == expected


def test_leaking_by_half_rounds_negative_numbers_up() -> None:
    assert leak(np.array([-1, -2, -3, 1, 3]), HALF).tolist() == [0, -1, -1, 1, 2]


def one_step(v: int, theta: int, reset: str = "hard", bits: int = 8) -> tuple[int, int, int]:
    neuron = Neuron(1, 1, reset, 4, bits)  # type: ignore[arg-type]
    start, current = np.zeros((1, 1, 1, 1), np.int64), np.full((1, 1, 1, 1), v)
    u, spikes, clipped = lif(start, current, np.array([theta]), neuron)
    return int(u.item()), int(spikes.item()), clipped


def test_a_neuron_at_the_threshold_does_not_fire() -> None:
    assert one_step(50, 50) == (50, 0, 0)
    assert one_step(51, 50) == (0, 1, 0)


def test_a_soft_reset_keeps_what_is_above_the_threshold() -> None:
    assert one_step(51, 50, "soft") == (1, 1, 0)
    assert one_step(127, 50, "soft") == (77, 1, 0)


def test_potentials_saturate_at_the_membranes_width() -> None:
    assert one_step(-128, 50) == (-128, 0, 0)
    assert one_step(-129, 50) == (-128, 0, 1)
    assert one_step(128, 50, "soft") == (77, 1, 1)
    assert one_step(127, 126) == (0, 1, 0)


def test_a_steady_current_reaches_twice_itself_at_half_leak() -> None:
    """u = τ u + I settles at I / (1 − τ) = 2 I; the rounding up of the leak adds nothing to even
    numbers.
    """
    u = np.zeros((1, 1, 1, 1), np.int64)
    for _ in range(20):
        u, spikes, _ = lif(u, np.full((1, 1, 1, 1), 1024), np.array([5000]), HALF)
        assert not spikes.any()
    assert u.item() in (2047, 2048)


def test_batches_do_not_change_anything() -> None:
    network = max_pool_network()
    images = random_images(network, 7)
    whole, parts = (
        run_reference(network, images, record=True),
        run_reference(network, images, record=True, batch=3),
    )
    np.testing.assert_array_equal(whole.logits, parts.logits)
    np.testing.assert_array_equal(whole.saturations, parts.saturations)
    assert whole.outputs is not None and parts.outputs is not None
    for a, b in zip(whole.outputs, parts.outputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fewer_timesteps_are_a_prefix() -> None:
    network = max_pool_network()
    images = random_images(network, 3)
    long, short = run_reference(network, images, 5), run_reference(network, images, 2)
    np.testing.assert_array_equal(long.logits[:, :2], short.logits)


def test_recorded_accumulators_of_the_classifier_are_the_logits_without_bias() -> None:
    network = max_pool_network()
    run = run_reference(network, random_images(network, 3), record=True)
    assert run.accumulators is not None
    bias = network.layers[-1].bias
    np.testing.assert_array_equal(run.accumulators[-1][..., 0, 0] + bias, run.logits)
    assert run.accumulators[1] is None


def test_no_images_give_no_logits() -> None:
    network = max_pool_network()
    run = run_reference(network, random_images(network, 3)[:0])
    assert run.logits.shape == (0, 3, 4)


def test_sums_beyond_24_bits_are_exact() -> None:
    """2,000 pixels of 127 times weights of 127 give 32,258,000: too much for float32."""
    network = random_network([linear("fc", -1, 2)], (1, 20, 100), timesteps=1)
    weight = np.full((2, 2000), 127, np.int8)
    weight[1, 0] = 126
    table = np.full((1, 256), 127, np.int8)
    layer = dataclasses.replace(network.layers[0], weight=weight, bias=np.zeros(2, np.int32))
    full = dataclasses.replace(network, layers=(layer,), input_table=table)
    logits = run_reference(full, np.zeros((1, 1, 20, 100), np.uint8)).logits
    assert logits[0, 0].tolist() == [2000 * 127 * 127, 2000 * 127 * 127 - 127]
