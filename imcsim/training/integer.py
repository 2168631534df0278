"""The network in the chip's integers, in PyTorch: for evaluation bit for bit, and for
quantisation-aware training with the same numbers and straight-through gradients.

`run_integer` follows docs/design.md, "Numbers", as the numpy reference does. All values are whole
numbers in floating point, exact while sums stay below 2^24 (float32) or 2^53 (float64).
`QuantizedNetwork` repeats `imcsim.network.quantize` on tensors, so that a network in training
computes what its export will compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, linear, max_pool2d

from imcsim.network.build import WEIGHT_MAX, accumulator_bound
from imcsim.network.layers import IMAGE, Layer, Network
from imcsim.network.quantize import Arithmetic, quantize_pixels
from imcsim.training.network import SpikingNetwork, WeightedLayer, encode_images
from imcsim.training.neuron import LifDynamics, SurrogateName, lif


@dataclass(frozen=True)
class IntegerLayer:
    """Arrays of one layer as tensors of whole numbers; see `imcsim.network.layers.Layer`."""

    weight: Tensor
    bias: Tensor
    threshold: Tensor | None = None
    residual_current: Tensor | None = None


@dataclass(frozen=True)
class IntegerParameters:
    """What a network computes with."""

    layers: Mapping[int, IntegerLayer]
    table: Tensor
    """(c, 256): integer that enters for each pixel value."""
    logit_scale: float | Tensor
    """Real value of one LSB of the class scores."""


def run_integer(
    layers: Sequence[Layer],
    parameters: IntegerParameters,
    images: Tensor,
    timesteps: int,
    dynamics: LifDynamics,
    fraction_bits: int,
    encoding: Literal["direct", "events"],
) -> Tensor:
    """Class scores of each timestep alone in accumulator LSBs, (n, t, k).

    Parameters
    ----------
    images : uint8 (n, c, h, w), or event frames (n, t, c, h, w)
    dynamics
        With `bits` set: integer membranes.
    """
    unit = 2.0**fraction_bits
    image = encode_images(images, parameters.table, encoding, timesteps)
    outputs: list[Tensor] = []
    for i, layer in enumerate(layers):
        x = image if layer.source == IMAGE else outputs[layer.source]
        if layer.is_pool:
            outputs.append(_pool(layer, x))
            continue
        arrays = parameters.layers[i]
        sums = _accumulate(layer, arrays.weight, x)
        if layer.spikes:
            current = _current(layer, arrays, sums, outputs, unit)
            assert arrays.threshold is not None
            static = layer.source == IMAGE and encoding == "direct"
            outputs.append(lif(current, arrays.threshold, timesteps, dynamics, static))
        else:
            outputs.append(sums + _per_channel(arrays.bias, sums))
    scores = outputs[-1]
    return scores.view(timesteps, -1, scores.shape[1]).transpose(0, 1)


def _pool(layer: Layer, x: Tensor) -> Tensor:
    if layer.kind == "max_pool":
        return max_pool2d(x, layer.kernel, layer.stride)
    # divisor_override=1: the count itself, without a division that would have to be undone.
    return avg_pool2d(x, layer.kernel, layer.stride, divisor_override=1)


def _accumulate(layer: Layer, weight: Tensor, x: Tensor) -> Tensor:
    if layer.kind == "linear":
        return linear(x.flatten(1), weight)
    return conv2d(x, weight, stride=layer.stride, padding=layer.padding)


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *(1,) * (like.dim() - 2))


def _current(
    layer: Layer, arrays: IntegerLayer, sums: Tensor, outputs: list[Tensor], unit: float
) -> Tensor:
    """``(acc << F) + b`` plus the residual: integers before the shift, spikes after it."""
    if layer.residual is None:
        return sums * unit + _per_channel(arrays.bias, sums)
    added = outputs[layer.residual]
    if arrays.residual_current is None:
        return (sums + added) * unit + _per_channel(arrays.bias, sums)
    spikes = added * _per_channel(arrays.residual_current, sums)
    return sums * unit + spikes + _per_channel(arrays.bias, sums)


def parameters_of(network: Network, device: torch.device) -> IntegerParameters:
    """The arrays of an exported network on `device`, in a type that holds every sum exactly.

    float64 on a GPU: its convolutions in float32 may go through Winograd transforms, which round.
    """
    exact = max(_largest_sum(network, layer) for layer in network.layers) < 2**24
    dtype = torch.float32 if exact and device.type == "cpu" else torch.float64

    def tensor(array: npt.NDArray[Any] | None) -> Tensor:
        assert array is not None
        return torch.from_numpy(np.array(array)).to(device, dtype)

    layers = {}
    for i, layer in enumerate(network.layers):
        if layer.is_pool:
            continue
        layers[i] = IntegerLayer(
            tensor(layer.weight),
            tensor(layer.bias),
            tensor(layer.threshold) if layer.spikes else None,
            None if layer.residual_current is None else tensor(layer.residual_current),
        )
    return IntegerParameters(layers, tensor(network.input_table), network.logit_scale)


def _largest_sum(network: Network, layer: Layer) -> int:
    """No whole number that comes up in a layer is larger."""
    if layer.is_pool:
        return layer.kernel**2 * layer.input_max
    neuron, sums = network.neuron, accumulator_bound(layer)
    if layer.residual is not None and layer.residual_current is None:
        sums += accumulator_bound(network.layers[layer.residual])
    if layer.spikes:
        sums = (sums << neuron.fraction_bits) + (neuron.leak_multiplier << neuron.membrane_bits)
    for array in (layer.bias, layer.residual_current):
        if array is not None:
            sums += int(np.abs(array.astype(np.int64)).max())
    return sums


def dynamics_of(network: Network, surrogate: SurrogateName = "triangle") -> LifDynamics:
    """The exported network's neuron."""
    neuron = network.neuron
    return LifDynamics(
        neuron.leak_multiplier, neuron.leak_shift, neuron.reset, surrogate, neuron.membrane_bits
    )


@torch.no_grad()
def integer_logits(
    network: Network,
    images: npt.NDArray[np.uint8],
    device: torch.device,
    timesteps: int | None = None,
    batch: int = 250,
) -> npt.NDArray[np.int64]:
    """Class scores of an exported network, equal to `run_reference`'s: int64 (n, t, k)."""
    steps = timesteps or network.timesteps
    parameters, dynamics = parameters_of(network, device), dynamics_of(network)
    parts = []
    for start in range(0, len(images), batch):
        some = torch.from_numpy(images[start : start + batch]).to(device)
        scores = run_integer(
            network.layers,
            parameters,
            some,
            steps,
            dynamics,
            network.neuron.fraction_bits,
            network.encoding,
        )
        parts.append(scores.round().long().cpu().numpy())
    return np.concatenate(parts)


class _Round(torch.autograd.Function):
    """Round half to even, as numpy does; the gradient passes straight through (Bengio et al.,
    2013).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def rounded(x: Tensor) -> Tensor:
    result: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class WeightNoise:
    """Noise-aware training: every pass sees another chip, ``w' = clip(round(w·(1 + σ n)))``, the
    weight-level variation that Li et al., DAC 2023, apply after training (Section IV-A).
    """

    sigma: float
    generator: torch.Generator

    def __call__(self, weight: Tensor) -> Tensor:
        draw = torch.randn(
            weight.shape, generator=self.generator, device=weight.device, dtype=weight.dtype
        )
        return rounded(weight * (1 + self.sigma * draw)).clamp(-WEIGHT_MAX, WEIGHT_MAX)


class QuantizedNetwork(nn.Module):
    """A network in training, run with the integers that its export will have.

    Batch norms are folded with their running statistics, which no longer change. Scales and
    thresholds follow the weights and carry no gradient.

    Parameters
    ----------
    noise
        Variation of the weights that training is to get used to; absent in evaluation.
    """

    def __init__(
        self, model: SpikingNetwork, arithmetic: Arithmetic, noise: WeightNoise | None = None
    ):
        super().__init__()
        self.model = model
        self.arithmetic = arithmetic
        self.noise = noise
        self.dynamics = replace(model.dynamics, bits=arithmetic.membrane_bits)
        table, self._pixel_lsb = quantize_pixels(model.to_float("pixels"))
        self.register_buffer("table", torch.from_numpy(table).float(), persistent=False)
        self.table: Tensor

    def forward(self, images: Tensor, timesteps: int | None = None) -> Tensor:
        """Class scores of each timestep alone in real units, (n, t, k); see
        `SpikingNetwork.forward`.
        """
        parameters = self.parameters_now()
        scores = run_integer(
            self.model.layers,
            parameters,
            images,
            timesteps or self.model.timesteps,
            self.dynamics,
            self.arithmetic.fraction_bits,
            self.model.encoding.kind,
        )
        return scores * parameters.logit_scale

    def parameters_now(self) -> IntegerParameters:
        """The integers that `quantize(model.to_float(...), arithmetic)` gives, with gradients."""
        layers = self.model.layers
        lsb = [self._pixel_lsb]
        for layer in layers:
            lsb.append(lsb[layer.source + 1] / layer.kernel**2 if layer.kind == "avg_pool" else 1.0)
        folded = _folded(self.model)
        scales = _scales(layers, folded, lsb, self.arithmetic)
        arrays = {i: self._integers(i, folded[i], scales[i], lsb) for i in folded}
        return IntegerParameters(arrays, self.table, scales[len(layers) - 1][0].float())

    def _integers(
        self, i: int, folded: tuple[Tensor, Tensor], scale: Tensor, lsb: list[float]
    ) -> IntegerLayer:
        (weight, bias), layers = folded, self.model.layers
        layer = layers[i]
        per_weight = (scale / lsb[layer.source + 1]).view(-1, *(1,) * (weight.dim() - 1))
        integers = rounded(weight / per_weight).clamp(-WEIGHT_MAX, WEIGHT_MAX)
        if self.noise is not None and self.training:
            integers = self.noise(integers)
        fine = scale / 2.0**self.arithmetic.fraction_bits if layer.spikes else scale
        current = None
        if layer.residual is not None and not layers[layer.residual].sends_sums:
            current = (lsb[layer.residual + 1] / fine).round().float()
        return IntegerLayer(
            integers.float(),
            rounded(bias / fine).float(),
            (1 / fine).round().clamp(min=1).float() if layer.spikes else None,
            current,
        )


Folded = dict[int, tuple[Tensor, Tensor]]


def _folded(model: SpikingNetwork) -> Folded:
    """float64 weight and bias with the batch norm inside; a shortcut's bias moves to the layer
    that adds it.
    """
    folded: Folded = {}
    for key, module in model.weighted.items():
        assert isinstance(module, WeightedLayer)
        weight = module.weight.double()
        norm = module.norm
        if norm is None:
            assert module.bias is not None
            folded[int(key)] = (weight, module.bias.double())
            continue
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shape = (-1, *(1,) * (weight.dim() - 1))
        bias = (0 - norm.running_mean.double()) * gain + norm.bias.double()
        folded[int(key)] = (weight * gain.view(shape), bias)
    for i, layer in enumerate(model.layers):
        j = layer.residual
        if j is not None and model.layers[j].sends_sums:
            folded[i] = (folded[i][0], folded[i][1] + folded[j][1])
            folded[j] = (folded[j][0], torch.zeros_like(folded[j][1]))
    return folded


@torch.no_grad()
def _scales(
    layers: Sequence[Layer], folded: Folded, lsb: list[float], arithmetic: Arithmetic
) -> dict[int, Tensor]:
    """Real value of one accumulator LSB, per channel; one for all channels of the classifier."""
    smallest = 2.0**arithmetic.fraction_bits / arithmetic.largest_threshold
    scales: dict[int, Tensor] = {}
    for i in sorted(folded, reverse=True):
        if i in scales:
            continue
        layer = layers[i]
        members = [i]
        if layer.residual is not None and layers[layer.residual].sends_sums:
            members.append(layer.residual)
        needed = [
            folded[j][0].abs().flatten(1).amax(1) * lsb[layers[j].source + 1] / WEIGHT_MAX
            for j in members
        ]
        scale = torch.stack(needed).amax(0)
        scale = scale.clamp(min=smallest) if layer.spikes else scale.max().expand_as(scale)
        for j in members:
            scales[j] = scale
    return scales
