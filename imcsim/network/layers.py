"""The integer spiking network: what a workload file holds and what every simulator floor reads.

All arithmetic is integer (docs/design.md, "Numbers"), so that the numpy reference and an ideal chip
agree bit for bit. Shapes are (channels, height, width); activations travel as integers: spikes 0/1,
counts 0..k² after a k×k average pool, and signed 8-bit pixels at the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
Shape = tuple[int, int, int]

IMAGE = -1
"""Source index that stands for the encoded image."""


@dataclass(frozen=True)
class Neuron:
    """Leaky integrate-and-fire in fixed point; Eqs. (2)-(3) of Li et al., DAC 2023.

    ``v = leak(u) + (acc << fraction_bits) + bias``, clipped once to `membrane_bits`; fires if ``v >
    threshold``.
    """

    leak_multiplier: int
    """m of τ = m / 2^n."""
    leak_shift: int
    """n of τ = m / 2^n; ``leak(u) = (u·m + 2^(n−1)) >> n``, and u itself for n = 0, m = 1."""
    reset: Literal["hard", "soft"]
    """After a spike: ``u = 0`` (hard) or ``u = v − threshold`` (soft)."""
    fraction_bits: int
    """F: the membrane's LSB is 2^−F accumulator LSB."""
    membrane_bits: int
    """W: width of the signed membrane potential; beyond it the value saturates."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of the network, with its neurons if it has any. Arrays are read-only."""

    name: str
    kind: Literal["conv", "linear", "max_pool", "avg_pool"]
    source: int
    """Index of the layer whose output this layer reads, or `IMAGE`."""
    input_shape: Shape
    output_shape: Shape
    input_min: int
    input_max: int
    """Range of the integers that can arrive: 0..1 for spikes, 0..k² after average pooling,
    −127..127 for an image."""
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    spikes: bool = False
    """True if LIF neurons follow. A 1×1 shortcut convolution and the classifier have none."""
    residual: int | None = None
    """Index of a layer whose output is added: integers of a shortcut convolution, or spikes ×
    `residual_current`."""
    weight: IntArray | None = None
    """int8: (c_out, c_in, kernel, kernel) of a convolution, (c_out, c_in·h·w) of a linear layer (c,
    h, w order)."""
    scale: npt.NDArray[np.float64] | None = None
    """(c_out,): real value of one accumulator LSB."""
    threshold: IntArray | None = None
    """int32 (c_out,): V_th in units of scale / 2^F; only where `spikes`."""
    bias: IntArray | None = None
    """int32 (c_out,): in units of scale / 2^F where `spikes`, else of one accumulator LSB."""
    residual_current: IntArray | None = None
    """int32 (c_out,): current of one identity spike, in units of scale / 2^F."""

    @property
    def is_pool(self) -> bool:
        return self.kind in ("max_pool", "avg_pool")

    @property
    def sends_sums(self) -> bool:
        """True if it hands on accumulators (a shortcut convolution, the classifier), not spikes or
        counts."""
        return not (self.spikes or self.is_pool)

    @property
    def input_signed(self) -> bool:
        return self.input_min < 0

    @cached_property
    def input_bits(self) -> int:
        """Bits that are fed serially into the crossbars, one read each; two's complement if
        signed."""
        if self.input_signed:
            return max((-self.input_min - 1).bit_length(), self.input_max.bit_length()) + 1
        return max(self.input_max.bit_length(), 1)

    @property
    def neurons(self) -> int:
        """Number of LIF neurons."""
        c, h, w = self.output_shape
        return c * h * w if self.spikes else 0

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the input window of one output position; a linear layer sees its
        whole input."""
        return self.input_shape[1:] if self.kind == "linear" else (self.kernel, self.kernel)

    @cached_property
    def matrix(self) -> IntArray:
        """Weights as stored on crossbars: int8 (rows, c_out), row = (ky·k_w + kx)·c_in + c
        ("channel" order)."""
        if self.weight is None:
            raise TypeError(f"layer {self.name} ({self.kind}) has no weights")
        c_out, c_in = self.output_shape[0], self.input_shape[0]
        four_d = self.weight.reshape(c_out, c_in, *self.window)
        matrix = np.ascontiguousarray(four_d.transpose(2, 3, 1, 0).reshape(-1, c_out))
        matrix.setflags(write=False)
        return matrix


@dataclass(frozen=True, eq=False)
class Network:
    """A complete integer network; layers are in topological order and the last one is the
    classifier."""

    name: str
    image_shape: Shape
    classes: int
    timesteps: int
    """Largest number of timesteps the network was trained for; the default of a run."""
    encoding: Literal["direct", "events"]
    """`direct`: the same image at every timestep; `events`: one frame per timestep."""
    layers: tuple[Layer, ...]
    neuron: Neuron
    input_table: npt.NDArray[np.int8]
    """int8 (channels, 256): integer that enters the first layer for each pixel value."""
    logit_scale: float
    """Real value of one LSB of the class scores."""

    def encode(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Turn pixels uint8 (n, c, h, w) into the integers that enter the first layer, int8 (n, c,
        h, w)."""
        channel = np.arange(self.image_shape[0])[None, :, None, None]
        encoded: npt.NDArray[np.int8] = self.input_table[channel, images]
        return encoded

    def sees_static_image(self, index: int) -> bool:
        """Whether a layer reads the same image at every timestep."""
        return self.layers[index].source == IMAGE and self.encoding == "direct"

    @property
    def weight_layers(self) -> tuple[int, ...]:
        """Indices of the layers that live on crossbars."""
        return tuple(i for i, layer in enumerate(self.layers) if not layer.is_pool)
