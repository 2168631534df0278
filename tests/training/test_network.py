"""The trainable network against the float network that it becomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imcsim.errors import WorkloadError
from imcsim.network.float_network import run_float
from imcsim.network.quantize import quantize
from imcsim.network.reference import run_reference
from imcsim.training.architectures import vgg
from imcsim.training.network import Encoding, SpikingNetwork, WeightedLayer
from tests.small_networks import linear
from tests.training.networks import (
    CLASSES,
    KINDS,
    TIMESTEPS,
    Kind,
    Reset,
    active_network,
    encoding_of,
    images_of,
    specs_of,
)


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("kind", KINDS)
def test_neurons_of_every_layer_fire_now_and_then(kind: Kind, reset: Reset) -> None:
    """Or the other tests would compare silence with silence."""
    network = quantize(active_network(kind, reset).to_float("active"))
    outputs = run_reference(network, images_of(kind, 4), record=True).outputs
    assert outputs is not None
    rates = [
        float(o.mean()) for o, layer in zip(outputs, network.layers, strict=True) if layer.spikes
    ]
    assert min(rates) > 0.05
    assert max(rates) < 0.95


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_gives_the_scores_of_the_float_network(kind: Kind, reset: Reset) -> None:
    model, images = active_network(kind, reset), images_of(kind, 8)
    with torch.no_grad():
        found = model(torch.from_numpy(images))
    assert found.shape == (8, TIMESTEPS, CLASSES)
    np.testing.assert_allclose(found, run_float(model.to_float("same"), images), atol=1e-5)


def test_fewer_timesteps_are_the_beginning_of_more() -> None:
    model, images = active_network("resnet"), torch.from_numpy(images_of("resnet", 4))
    with torch.no_grad():
        torch.testing.assert_close(model(images, 1), model(images)[:, :1], atol=1e-5, rtol=0)


def inputs_of(layer: nn.Module, run: Any) -> list[Tensor]:
    """What a module is called with while `run` runs."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    run()
    hook.remove()
    return seen


@pytest.mark.parametrize(("kind", "images"), [("avg", 5), ("events", 5 * TIMESTEPS)])
def test_the_first_convolution_of_a_static_image_runs_once_per_image(
    kind: Kind, images: int
) -> None:
    model, batch = active_network(kind), torch.from_numpy(images_of(kind, 5))
    for index, expected in (("0", images), (str(len(model.layers) - 1), 5 * TIMESTEPS)):
        (seen,) = inputs_of(model.weighted[index], lambda: model(batch))
        assert len(seen) == expected


def test_training_normalises_by_the_statistics_of_batch_and_time_together() -> None:
    model, images = active_network("avg"), torch.from_numpy(images_of("avg", 6))
    layer = model.weighted["2"]
    assert isinstance(layer, WeightedLayer) and layer.norm is not None
    model.train()
    layer.norm.reset_running_stats()
    layer.norm.momentum = 0.1
    (seen,) = inputs_of(layer.norm, lambda: model(images))
    assert len(seen) == 6 * TIMESTEPS
    per_channel = seen.detach().transpose(0, 1).flatten(1).double()
    expected = per_channel.mean(1), per_channel.var(1, correction=1)
    torch.testing.assert_close(layer.norm.running_mean.double(), 0.1 * expected[0])
    torch.testing.assert_close(layer.norm.running_var.double(), 0.9 + 0.1 * expected[1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: Kind) -> None:
    model = active_network(kind).train()
    model(torch.from_numpy(images_of(kind, 4))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


def test_bfloat16_convolutions_give_nearly_the_same_scores() -> None:
    model, images = active_network("max"), torch.from_numpy(images_of("max", 32))
    with torch.no_grad():
        exact = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(images)
    assert rough.dtype == torch.float32
    # Some currents fall on the other side of the threshold.
    assert float((rough - exact).abs().mean()) < 0.2 * float(exact.std())


def test_pixels_enter_normalised_and_events_as_they_are() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    specs = [linear("fc", -1, 3)]
    direct = SpikingNetwork(specs, Encoding((2, 1, 2), "direct", (0.2, 0.4), (0.5, 0.1)), 1)
    expected = torch.tensor([[[[-0.4, 1.6]], [[-2.0, 0.0]]]])
    torch.testing.assert_close(direct.encode(images, 1), expected)
    events = SpikingNetwork(specs, Encoding((2, 1, 2), "events"), 2)
    frames = torch.stack([images, images + 1], dim=1)
    assert torch.equal(events.encode(frames, 2), torch.cat([images, images + 1]).float())


def test_the_exported_arrays_are_copies() -> None:
    model = active_network("avg")
    before = model.to_float("copy")
    weight = before.layers[0].weight
    assert weight is not None
    with torch.no_grad():
        model.weighted["0"].map.weight.zero_()
    assert weight.any()
    assert (before.tau, before.reset, before.timesteps) == (0.75, "hard", TIMESTEPS)


def test_the_network_is_as_wide_as_its_specification() -> None:
    model = SpikingNetwork(specs_of("avg"), encoding_of("avg"), TIMESTEPS)
    assert model.classes == CLASSES
    assert model.layers[0].output_shape == (6, 8, 8)


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(WorkloadError, match="does not fit"):
        SpikingNetwork(vgg(32, 10), Encoding((3, 8, 8), "direct", (0.5,) * 3, (0.5,) * 3), 1)
