"""The network in integers: bit for bit the numpy reference's, in evaluation and in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imcsim.network.layers import Network, Neuron
from imcsim.network.quantize import Arithmetic, quantize
from imcsim.network.reference import run_reference
from imcsim.training.integer import (
    QuantizedNetwork,
    WeightNoise,
    integer_logits,
    parameters_of,
    rounded,
)
from tests.small_networks import SMALL_NETWORKS, linear, random_images, random_network
from tests.training.networks import KINDS, TIMESTEPS, Kind, Reset, active_network, images_of

CPU = torch.device("cpu")
ARITHMETICS = {"16 bits": Arithmetic(), "32 bits": Arithmetic(4, 32, 8), "8 bits": Arithmetic(0, 8)}

kinds = pytest.mark.parametrize("kind", KINDS)
resets = pytest.mark.parametrize("reset", ["hard", "soft"])
widths = pytest.mark.parametrize("arithmetic", ARITHMETICS.values(), ids=ARITHMETICS.keys())


@kinds
@resets
@widths
def test_an_exported_network_gives_the_scores_of_the_reference(
    kind: Kind, reset: Reset, arithmetic: Arithmetic
) -> None:
    network = quantize(active_network(kind, reset).to_float("exported"), arithmetic)
    images = images_of(kind, 10)
    found = integer_logits(network, images, CPU, batch=4)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, run_reference(network, images).logits)


@pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
@pytest.mark.parametrize("neuron", [Neuron(1, 1, "soft", 4, 12), Neuron(5, 3, "hard", 8, 32)])
def test_any_network_gives_the_scores_of_the_reference(name: str, neuron: Neuron) -> None:
    network = SMALL_NETWORKS[name](neuron=neuron)
    images = random_images(network, 8)
    for steps in (1, network.timesteps):
        expected = run_reference(network, images, steps).logits
        np.testing.assert_array_equal(integer_logits(network, images, CPU, steps), expected)


def test_sums_that_float32_would_round_are_exact() -> None:
    network = _with_large_numbers()
    images = np.full((1, 1, 1, 1), 127, np.uint8)
    # v = (127 · 127 << 12) + bias = 3 is not above the threshold 3; rounded, it would be 4.
    assert parameters_of(network, CPU).layers[0].weight.dtype == torch.float64
    np.testing.assert_array_equal(
        integer_logits(network, images, CPU), run_reference(network, images).logits
    )


def _with_large_numbers() -> Network:
    """One neuron whose bias cancels nearly all of a large current."""
    neuron = Neuron(1, 1, "hard", fraction_bits=12, membrane_bits=16)
    specs = [linear("hidden", -1, 1, spikes=True), linear("fc", 0, 2)]
    network = random_network(specs, (1, 1, 1), neuron=neuron, timesteps=1)
    hidden, last = network.layers
    for array, value in (
        (hidden.weight, 127),
        (hidden.bias, 3 - (127 * 127 << 12)),
        (hidden.threshold, 3),
        (network.input_table, 127),
        (last.weight, 1),
    ):
        assert array is not None
        array.setflags(write=True)
        array[...] = value
    return network


def test_small_numbers_are_computed_in_float32() -> None:
    network = quantize(active_network("avg").to_float("exported"))
    assert parameters_of(network, CPU).layers[0].weight.dtype == torch.float32


def trained_scores(kind: Kind, reset: Reset, arithmetic: Arithmetic) -> tuple[Tensor, Any]:
    model, images = active_network(kind, reset), images_of(kind, 10)
    exported = quantize(model.to_float("exported"), arithmetic)
    with torch.no_grad():
        scores = QuantizedNetwork(model, arithmetic).eval()(torch.from_numpy(images))
    expected = run_reference(exported, images).logits * np.float32(exported.logit_scale)
    return scores, expected.astype(np.float32)


@kinds
@resets
def test_a_network_in_training_computes_what_its_export_will(kind: Kind, reset: Reset) -> None:
    scores, expected = trained_scores(kind, reset, Arithmetic())
    np.testing.assert_array_equal(scores, expected)


@kinds
def test_other_widths_are_trained_with_as_well(kind: Kind) -> None:
    scores, expected = trained_scores(kind, "hard", Arithmetic(2, 12, 1))
    np.testing.assert_array_equal(scores, expected)


@kinds
def test_gradients_reach_every_parameter(kind: Kind) -> None:
    model = active_network(kind)
    network = QuantizedNetwork(model, Arithmetic()).train()
    network(torch.from_numpy(images_of(kind, 8))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


# Not of ResNet-19: in 19 layers of a few neurons, one spike more or less soon changes all others.
@pytest.mark.parametrize("kind", ["avg", "max", "blocks", "events"])
def test_gradients_are_nearly_those_of_real_numbers(kind: Kind) -> None:
    """With the batch norms standing still in both."""
    model, images = active_network(kind), torch.from_numpy(images_of(kind, 16))
    grads = []
    for network in (model.eval(), QuantizedNetwork(model, Arithmetic(4, 24, 2)).eval()):
        model.zero_grad()
        network(images).square().sum().backward()
        found = [p.grad for p in model.parameters()]
        grads.append(torch.cat([g.flatten().double() for g in found if g is not None]))
    assert float(torch.cosine_similarity(*grads, dim=0)) > 0.95
    assert float(grads[1].norm() / grads[0].norm()) == pytest.approx(1, abs=0.15)


def test_batch_norms_stand_still() -> None:
    model = active_network("resnet")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    QuantizedNetwork(model, Arithmetic()).train()(torch.from_numpy(images_of("resnet", 4)))
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_values_are_rounded_half_to_even_with_a_straight_gradient() -> None:
    x = torch.tensor([0.5, 1.5, -0.5, 2.4], requires_grad=True)
    y = rounded(x)
    assert y.tolist() == [0, 2, 0, 2]
    (y * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 2, 3, 4]


def seeded_noise(sigma: float = 0.2, seed: int = 0) -> WeightNoise:
    return WeightNoise(sigma, torch.Generator().manual_seed(seed))


def test_noise_is_relative_and_rounded() -> None:
    weight = torch.full((40_000,), 60.0)
    noisy = seeded_noise()(weight)
    assert torch.equal(noisy, noisy.round())
    # 40,000 draws of σ = 12, and 1/12 of a rounding's variance.
    assert float(noisy.mean()) == pytest.approx(60, abs=0.3)
    assert float(noisy.std()) == pytest.approx((12**2 + 1 / 12) ** 0.5, rel=0.02)
    assert not seeded_noise()(torch.zeros(100)).any()


def test_noise_never_leaves_the_range_of_weights() -> None:
    for sign in (-1, 1):
        noisy = seeded_noise()(torch.full((1000,), sign * 127.0))
        assert float(noisy.abs().max()) == 127
        assert 0.4 < float((noisy == sign * 127).float().mean()) < 0.6


def test_every_pass_in_training_sees_another_chip_and_evaluation_none() -> None:
    model, images = active_network("avg"), torch.from_numpy(images_of("avg", 8))
    clean = QuantizedNetwork(model, Arithmetic()).eval()
    noisy = QuantizedNetwork(model, Arithmetic(), seeded_noise())
    with torch.no_grad():
        expected = clean(images)
        assert torch.equal(noisy.eval()(images), expected)
        first, second = noisy.train()(images), noisy(images)
        again = QuantizedNetwork(model, Arithmetic(), seeded_noise()).train()(images)
    assert not torch.equal(first, expected)
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert first.shape == (8, TIMESTEPS, model.classes)
