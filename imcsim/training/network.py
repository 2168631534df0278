"""The trainable network: a list of layers run in PyTorch, all timesteps of a layer at once.

Time is merged into the batch, time-major: (t · n, c, h, w). A layer that reads a static image is
computed once per image. Batch normalisation sees batch and time together, one set of statistics for
all timesteps, as in the authors' code; so it folds into the weights of the exported network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from imcsim.network.build import LayerSpec, derive_layers, spec_of
from imcsim.network.float_network import BatchNorm, FloatLayer, FloatNetwork
from imcsim.network.layers import IMAGE, Layer, Shape
from imcsim.training.neuron import LifDynamics, lif

_ANY_PIXEL = (-128, 127)
"""Range of an encoded image; the shapes that are derived here do not depend on it."""


@dataclass(frozen=True)
class Encoding:
    """What enters the first layer."""

    image_shape: Shape
    kind: Literal["direct", "events"] = "direct"
    mean: tuple[float, ...] = ()
    """Per channel, of pixel/255; unused for events."""
    std: tuple[float, ...] = ()


class SpikingNetwork(nn.Module):
    """A spiking network with V_th = 1.

    Parameters
    ----------
    specs
        Layers in topological order; the last is the classifier.

    Raises
    ------
    WorkloadError
        If the layers do not fit each other (`derive_layers`).
    """

    def __init__(
        self,
        specs: Sequence[LayerSpec],
        encoding: Encoding,
        timesteps: int,
        dynamics: LifDynamics | None = None,
    ):
        super().__init__()
        self.layers = derive_layers(encoding.image_shape, _ANY_PIXEL, specs)
        self.encoding = encoding
        self.timesteps = timesteps
        self.dynamics = dynamics or LifDynamics()
        self.weighted = nn.ModuleDict(
            {
                str(i): WeightedLayer(layer)
                for i, layer in enumerate(self.layers)
                if not layer.is_pool
            }
        )
        self.register_buffer("pixels", _pixel_table(encoding), persistent=False)
        self.register_buffer("v_th", torch.ones(1), persistent=False)
        self.pixels: Tensor
        self.v_th: Tensor

    @property
    def classes(self) -> int:
        return self.layers[-1].output_shape[0]

    def forward(self, images: Tensor, timesteps: int | None = None) -> Tensor:
        """Class scores of each timestep alone, (n, t, k).

        Parameters
        ----------
        images : uint8 (n, c, h, w), or event frames (n, t, c, h, w)
        timesteps
            Default: the network's own.
        """
        steps = timesteps or self.timesteps
        outputs: list[Tensor] = []
        image = self.encode(images, steps)
        for i, layer in enumerate(self.layers):
            x = image if layer.source == IMAGE else outputs[layer.source]
            outputs.append(self._run_layer(i, layer, x, outputs, steps))
        return outputs[-1].float().view(steps, -1, self.classes).transpose(0, 1)

    def encode(self, images: Tensor, timesteps: int) -> Tensor:
        """Real numbers that enter the first layer: (n, c, h, w), or (t · n, c, h, w) of events."""
        return encode_images(images, self.pixels, self.encoding.kind, timesteps)

    def is_static(self, layer: Layer) -> bool:
        return layer.source == IMAGE and self.encoding.kind == "direct"

    def _run_layer(
        self, i: int, layer: Layer, x: Tensor, outputs: list[Tensor], steps: int
    ) -> Tensor:
        if layer.kind == "max_pool":
            return max_pool2d(x, layer.kernel, layer.stride)
        if layer.kind == "avg_pool":
            return avg_pool2d(x, layer.kernel, layer.stride)
        current: Tensor = self.weighted[str(i)](x)
        if layer.residual is not None:
            current = current + outputs[layer.residual]
        if not layer.spikes:
            return current
        return lif(current, self.v_th, steps, self.dynamics, static=self.is_static(layer))

    def to_float(self, name: str) -> FloatNetwork:
        """The trained network in numpy, float64 copies of weights and statistics."""
        return FloatNetwork(
            name=name,
            image_shape=self.encoding.image_shape,
            classes=self.classes,
            timesteps=self.timesteps,
            layers=tuple(self._float_layer(i, layer) for i, layer in enumerate(self.layers)),
            mean=np.array(self.encoding.mean),
            std=np.array(self.encoding.std),
            tau=self.dynamics.tau,
            reset=self.dynamics.reset,
            encoding=self.encoding.kind,
        )

    def _float_layer(self, i: int, layer: Layer) -> FloatLayer:
        spec = spec_of(layer).model_dump(exclude={"channels"})
        if layer.is_pool:
            return FloatLayer(**spec)
        module = self.weighted[str(i)]
        assert isinstance(module, WeightedLayer)
        norm = module.norm
        return FloatLayer(
            **spec,
            weight=_array(module.weight),
            bias=None if module.bias is None else _array(module.bias),
            batch_norm=None
            if norm is None
            else BatchNorm(
                _array(norm.weight),
                _array(norm.bias),
                _array(norm.running_mean),
                _array(norm.running_var),
                norm.eps,
            ),
        )


class WeightedLayer(nn.Module):
    """A convolution with batch norm, or the linear classifier with a bias."""

    def __init__(self, layer: Layer):
        super().__init__()
        c_in, c_out = layer.input_shape[0], layer.output_shape[0]
        self.norm: nn.BatchNorm2d | None = None
        self.map: nn.Conv2d | nn.Linear
        if layer.kind == "conv":
            self.map = nn.Conv2d(c_in, c_out, layer.kernel, layer.stride, layer.padding, bias=False)
            # He et al. 2015, fan-out; as in the authors' code.
            nn.init.kaiming_normal_(self.map.weight, mode="fan_out", nonlinearity="relu")
            self.norm = nn.BatchNorm2d(c_out)
        else:
            _, h, w = layer.input_shape
            self.map = nn.Linear(c_in * h * w, c_out)

    @property
    def weight(self) -> Tensor:
        return self.map.weight

    @property
    def bias(self) -> Tensor | None:
        return self.map.bias

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.map(x.flatten(1) if isinstance(self.map, nn.Linear) else x)
        return y if self.norm is None else self.norm(y)


def encode_images(
    images: Tensor, table: Tensor, kind: Literal["direct", "events"], timesteps: int
) -> Tensor:
    """Look up each pixel of uint8 (n, c, h, w) in `table` (c, 256); event frames (n, t, c, h, w)
    become (t · n, c, h, w).
    """
    if kind == "events":
        images = images[:, :timesteps].transpose(0, 1).flatten(0, 1)
    channels = images.shape[1]
    offset = torch.arange(channels, device=images.device).view(1, -1, 1, 1) * table.shape[1]
    return table.flatten()[images.int() + offset]


def _pixel_table(encoding: Encoding) -> Tensor:
    """(c, 256): the real number that enters for each pixel value; event counts enter as they
    are.
    """
    pixels = torch.arange(256, dtype=torch.float64).expand(encoding.image_shape[0], 256)
    if encoding.kind == "events":
        return pixels.float()
    mean = torch.tensor(encoding.mean, dtype=torch.float64)[:, None]
    std = torch.tensor(encoding.std, dtype=torch.float64)[:, None]
    return ((pixels / 255 - mean) / std).float()


def _array(tensor: Tensor | None) -> npt.NDArray[np.float64]:
    assert tensor is not None
    return tensor.detach().cpu().double().numpy().copy()
