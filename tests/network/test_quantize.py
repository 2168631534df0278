"""From real weights to integers: scales, thresholds, and that the integer network does what the
float one does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from imcsim.errors import WorkloadError
from imcsim.network.float_network import FloatLayer, FloatNetwork, run_float
from imcsim.network.quantize import Arithmetic, leak_fraction, quantize
from imcsim.network.reference import run_reference
from tests.network.test_float_network import tiny_float_network

WIDE = Arithmetic(fraction_bits=8, membrane_bits=32, headroom_bits=4)


def images_for(network: FloatNetwork, n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, *network.image_shape)).astype(np.uint8)


@pytest.mark.parametrize("pool", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("arithmetic", [None, WIDE])
def test_the_integer_network_follows_the_float_network(
    pool: Any, arithmetic: Arithmetic | None
) -> None:
    """8-bit weights move a spike now and then, so scores agree for most images, not for all."""
    real = tiny_float_network(pool, "hard", 0.5)
    network = quantize(real, arithmetic)
    images = images_for(real, 200)
    expected = run_float(real, images)
    found = run_reference(network, images).logits * network.logit_scale
    assert (np.abs(found - expected).max(axis=2) < 0.05).mean() > 0.7
    assert (found.sum(axis=1).argmax(1) == expected.sum(axis=1).argmax(1)).mean() > 0.9


def grid_network(spikes_v_th: float = 1.0) -> FloatNetwork:
    """Weights on the grid of int8 and a binary-valued image, so that quantisation loses nothing."""
    rng = np.random.default_rng(2)
    weight = rng.integers(-127, 128, (6, 12)) / 127.0
    weight[:, 0] = 1.0
    out = rng.integers(-127, 128, (3, 6)) / 64.0
    out[0, 0] = 127 / 64
    return FloatNetwork(
        "grid",
        (1, 3, 4),
        3,
        5,
        (
            FloatLayer("h", "linear", -1, spikes=True, weight=weight, v_th=spikes_v_th),
            FloatLayer("fc", "linear", 0, weight=out, bias=np.array([0.5, -0.25, 0.0])),
        ),
        mean=np.zeros(1),
        std=np.full(1, 1.0),
    )


def test_weights_on_the_grid_are_converted_without_loss() -> None:
    network = quantize(grid_network(), WIDE)
    images = np.where(np.random.default_rng(1).random((50, 1, 3, 4)) < 0.5, 0, 255).astype(np.uint8)
    expected = run_float(grid_network(), images)
    found = run_reference(network, images).logits * network.logit_scale
    # Only potentials within a rounding of the threshold may differ; there are none here.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_weight_of_full_scale_is_127_and_the_threshold_is_in_membrane_units() -> None:
    network = quantize(grid_network(), Arithmetic(fraction_bits=4, membrane_bits=32))
    hidden = network.layers[0]
    assert hidden.weight is not None and hidden.threshold is not None and hidden.scale is not None
    assert (np.abs(hidden.weight).max(axis=1) == 127).all()
    # Pixel 255 is integer 127: one accumulator LSB is 1/127 · 1/127.
    np.testing.assert_allclose(hidden.scale, 1 / 127**2)
    assert hidden.threshold.tolist() == [127**2 * 16] * 6


def test_thresholds_that_do_not_fit_cost_bits_of_the_weights() -> None:
    """127² · 16 = 258,064 exceeds 2^13: the scale grows until the threshold is 8,192."""
    network = quantize(grid_network(), Arithmetic(fraction_bits=4, membrane_bits=16))
    hidden = network.layers[0]
    assert hidden.weight is not None and hidden.threshold is not None
    assert hidden.threshold.tolist() == [8192] * 6
    assert np.abs(hidden.weight).max() == round(127 * 8192 / 258064)


def test_dead_channels_are_converted() -> None:
    base = grid_network()
    weight = np.array(base.layers[0].weight)
    weight[2] = 0
    dead = dataclasses.replace(base.layers[0], weight=weight)
    silent = FloatLayer("b", "linear", 0, spikes=True, weight=np.zeros((2, 6)))
    fc = FloatLayer("fc", "linear", 1, weight=np.zeros((3, 2)))
    network = quantize(dataclasses.replace(base, layers=(dead, silent, fc)))
    assert not run_reference(network, images_for(base, 2)).logits.any()


def test_a_shortcut_shares_its_scale_and_gives_its_bias_away() -> None:
    network = quantize(tiny_float_network())
    shortcut, adder = network.layers[4], network.layers[5]
    assert shortcut.scale is not None and shortcut.bias is not None
    np.testing.assert_array_equal(shortcut.scale, adder.scale)
    assert not shortcut.bias.any()
    assert adder.residual_current is None
    identity = network.layers[3]
    assert identity.residual_current is not None and identity.scale is not None
    unit = identity.scale / 2**network.neuron.fraction_bits
    assert (np.abs(identity.residual_current * unit - 1.0) <= unit / 2).all()


def test_averages_are_counted_and_scaled_afterwards() -> None:
    network = quantize(tiny_float_network("avg_pool"), WIDE)
    layer = network.layers[2]
    real = tiny_float_network("avg_pool").layers[2]
    assert layer.scale is not None and real.weight is not None
    largest = np.abs(real.weight).reshape(4, -1).max(axis=1)
    assert layer.input_max == 4
    np.testing.assert_allclose(layer.scale, largest / 127 / 4)


def test_pixel_zero_of_the_normalised_image_stays_zero() -> None:
    real = dataclasses.replace(tiny_float_network(), mean=np.array([51 / 255, 102 / 255]))
    table = quantize(real).input_table
    assert table[0, 51] == 0 and table[1, 102] == 0
    assert np.abs(table.astype(int)).max() == 127


def test_event_counts_are_passed_on_up_to_127() -> None:
    layer = FloatLayer("fc", "linear", -1, weight=np.eye(4))
    real = FloatNetwork("e", (1, 2, 2), 4, 3, (layer,), np.ones(1), np.ones(1), encoding="events")
    network = quantize(real)
    assert network.input_table[0, [0, 5, 127, 128, 255]].tolist() == [0, 5, 127, 127, 127]
    assert network.layers[0].input_min == 0
    np.testing.assert_allclose(network.logit_scale, 1 / 127)


@pytest.mark.parametrize(
    ("tau", "fraction"),
    [(0.5, (1, 1)), (1.0, (1, 0)), (0.75, (3, 2)), (0.9, (230, 8)), (0.001, (1, 8))],
)
def test_leaks_become_fractions(tau: float, fraction: tuple[int, int]) -> None:
    assert leak_fraction(tau) == fraction


@pytest.mark.parametrize("tau", [0.0, -0.5, 1.5, float("nan"), float("inf")])
def test_impossible_leaks_are_refused(tau: float) -> None:
    with pytest.raises(WorkloadError, match=r"tau: .* is not in 0 < τ ≤ 1"):
        leak_fraction(tau)


@pytest.mark.parametrize("v_th", [0.0, -1.0, float("nan")])
def test_impossible_thresholds_are_refused(v_th: float) -> None:
    with pytest.raises(WorkloadError, match="h: v_th: must be positive and finite"):
        quantize(grid_network(v_th))
