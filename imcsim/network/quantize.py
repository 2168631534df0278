"""From real weights to the integer network: int8 weights, integer thresholds, 16-bit membranes.

Each output channel has its own scale, the real value of one accumulator LSB; the classifier has
one for all. Thresholds and biases are written in units of scale / 2^F: the threshold is scaled,
never the weights.

A membrane of W bits bounds the threshold: ``θ = V_th·2^F / scale`` must stay well below 2^(W−1),
and where the image enters, the scale (weight LSB × pixel LSB) is tiny. So a channel whose threshold
would not fit gets a larger scale, which spends fewer bits on its weights.

One fraction bit is enough, and in 16 bits more do harm. Rounding the leak and the bias to 2^−F
accumulator LSB costs at most half an LSB per step, as much as the rounding of one more active
weight; a threshold that no longer fits costs weight bits. Measured on the VGG-16 of
workloads/README.md with 200 test images that are not shipped (numbers 9,000 to 9,199): root mean
square difference of the accumulated class scores from the float network at t = 1 and t = 4, and
saturated updates of the first layer's membranes:

====================  =====  =====  =========
W, F, headroom        t = 1  t = 4  saturated
====================  =====  =====  =========
32, 4, 8              0.56   1.45   0
20, 4, 2              0.57   1.47   0.8 %
16, 4, 2              0.80   2.71   1.0 %
16, 4, 1              0.59   1.75   8.6 %
16, 2, 2              0.56   1.51   1.0 %
16, 1, 2 (default)    0.52   1.40   1.0 %
16, 1, 1              0.55   1.44   8.0 %
16, 0, 2              0.57   1.41   0.8 %
16, 0, 3              0.54   1.44   0.03 %
====================  =====  =====  =========

What remains is the error of 8-bit weights themselves: membranes of 32 bits do not help. 16 bits
with F = 4 take weight bits from every deep layer (V_th / scale is about 2,700 there): at t = 3 only
84 % of the predictions are still the float network's, with F = 1 it is 93 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.errors import WorkloadError
from imcsim.network.build import WEIGHT_MAX, LayerSpec, build_network
from imcsim.network.float_network import FloatLayer, FloatNetwork
from imcsim.network.layers import Network, Neuron

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arithmetic:
    """Widths of the membrane."""

    fraction_bits: int = 1
    """F: the membrane's LSB is 2^−F accumulator LSB."""
    membrane_bits: int = 16
    headroom_bits: int = 2
    """Thresholds are at most 2^(W−1−headroom), so that potentials may reach 2^headroom thresholds
    below zero.
    """

    @property
    def largest_threshold(self) -> int:
        return 1 << (self.membrane_bits - 1 - self.headroom_bits)


def quantize(network: FloatNetwork, arithmetic: Arithmetic | None = None) -> Network:
    """Convert a float network to integers; batch norms are folded first.

    Raises
    ------
    WorkloadError
        If the leak is not m/2^n to 16 bits, or the network breaks a rule of `build_network`.
    """
    arithmetic = arithmetic or Arithmetic()
    m, n = leak_fraction(network.tau)
    input_table, pixel_lsb = quantize_pixels(network)
    lsb = [pixel_lsb]
    for layer in network.layers:
        lsb.append(_output_lsb(layer, lsb[layer.source + 1]))
    folded = _folded(network)
    neuron = Neuron(m, n, network.reset, arithmetic.fraction_bits, arithmetic.membrane_bits)
    largest_lsb = 2.0**-arithmetic.fraction_bits * arithmetic.largest_threshold
    arrays: dict[str, npt.NDArray[Any]] = {}
    scales: dict[int, Float64Array] = {}
    for i in reversed(range(len(network.layers))):
        layer = network.layers[i]
        if layer.weight is None:
            continue
        if i not in scales:
            _choose_scales(network, i, folded, lsb, largest_lsb, scales)
        arrays |= _integers(layer, i, folded[i], lsb, scales[i], neuron)
    last = len(network.layers) - 1
    return build_network(
        name=network.name,
        image_shape=network.image_shape,
        classes=network.classes,
        timesteps=network.timesteps,
        encoding=network.encoding,
        neuron=neuron,
        input_table=input_table,
        logit_scale=float(scales[last][0]),
        specs=[_spec(layer) for layer in network.layers],
        arrays=arrays,
    )


def leak_fraction(tau: float, largest_shift: int = 8) -> tuple[int, int]:
    """The leak as m / 2^n with the smallest n ≤ `largest_shift` that is exact, else the nearest at
    that n.

    >>> leak_fraction(0.5), leak_fraction(1.0), leak_fraction(0.9)
    ((1, 1), (1, 0), (230, 8))
    """
    if not (math.isfinite(tau) and 0 < tau <= 1):
        raise WorkloadError(f"tau: {tau} is not in 0 < τ ≤ 1")
    for n in range(largest_shift + 1):
        if (tau * 2**n).is_integer():
            return int(tau * 2**n), n
    return max(round(tau * 2**largest_shift), 1), largest_shift


def quantize_pixels(network: FloatNetwork) -> tuple[npt.NDArray[np.int8], float]:
    """Input table int8 (c, 256) and the real value of its LSB, one for all channels; real 0 stays
    integer 0.
    """
    if network.encoding == "events":
        counts = np.minimum(np.arange(256), 127).astype(np.int8)
        return np.tile(counts, (network.image_shape[0], 1)), 1.0
    values = network.pixel_values()
    lsb = float(np.abs(values).max()) / 127
    return np.round(values / lsb).astype(np.int8), lsb


def _output_lsb(layer: FloatLayer, input_lsb: float) -> float:
    """Real value of one unit of what a layer hands on: a spike is 1, a count 1/k² of what is
    counted.
    """
    if layer.kind == "avg_pool":
        return input_lsb / layer.kernel**2
    return 1.0


def _folded(network: FloatNetwork) -> dict[int, tuple[Float64Array, Float64Array]]:
    """Folded weight and bias per layer; a shortcut's bias moves to the layer that adds it."""
    folded = {
        i: layer.folded() for i, layer in enumerate(network.layers) if layer.weight is not None
    }
    moved = set()
    for i, layer in enumerate(network.layers):
        if layer.residual is not None and _is_shortcut(network, layer.residual):
            folded[i] = (folded[i][0], folded[i][1] + folded[layer.residual][1])
            moved.add(layer.residual)
    for i in moved:
        folded[i] = (folded[i][0], np.zeros_like(folded[i][1]))
    return folded


def _is_shortcut(network: FloatNetwork, i: int) -> bool:
    return network.layers[i].weight is not None and not network.layers[i].spikes


def _choose_scales(
    network: FloatNetwork,
    i: int,
    folded: dict[int, tuple[Float64Array, Float64Array]],
    lsb: list[float],
    largest_lsb: float,
    scales: dict[int, Float64Array],
) -> None:
    """Scale per channel of layer `i`, shared with the shortcut convolution that is added to it.

    `largest_lsb` is the largest threshold in accumulator LSBs that fits the membranes.
    """
    layer = network.layers[i]
    members = [i]
    if layer.residual is not None and _is_shortcut(network, layer.residual):
        members.append(layer.residual)
    needed = [_needed_scale(folded[j][0], lsb[network.layers[j].source + 1]) for j in members]
    scale = np.maximum.reduce(needed)
    if layer.spikes:
        scale = np.maximum(scale, _thresholds(layer, len(scale)) / largest_lsb)
    else:
        # Class scores are compared with each other, so the classifier has one scale.
        scale = np.full_like(scale, scale.max() or 1.0)
    for j in members:
        scales[j] = scale


def _thresholds(layer: FloatLayer, channels: int) -> Float64Array:
    """V_th per channel."""
    v_th = np.asarray(layer.v_th, np.float64)
    if not np.all(np.isfinite(v_th)) or not np.all(v_th > 0):
        raise WorkloadError(f"{layer.name}: v_th: must be positive and finite")
    return np.broadcast_to(v_th, channels)


def _needed_scale(weight: Float64Array, input_lsb: float) -> Float64Array:
    """Smallest scale (c_out,) at which every weight fits ±127."""
    largest: Float64Array = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return largest * input_lsb / WEIGHT_MAX


def _integers(
    layer: FloatLayer,
    i: int,
    folded: tuple[Float64Array, Float64Array],
    lsb: list[float],
    scale: Float64Array,
    neuron: Neuron,
) -> dict[str, npt.NDArray[Any]]:
    weight, bias = folded
    per_weight = (scale / lsb[layer.source + 1]).reshape(-1, *(1,) * (weight.ndim - 1))
    fine = scale / 2**neuron.fraction_bits if layer.spikes else scale
    arrays: dict[str, npt.NDArray[Any]] = {
        f"L{i}.weight": np.clip(np.round(weight / per_weight), -127, 127).astype(np.int8),
        f"L{i}.scale": scale,
        f"L{i}.bias": _int32(bias / fine),
    }
    if layer.spikes:
        arrays[f"L{i}.threshold"] = np.maximum(_int32(_thresholds(layer, len(scale)) / fine), 1)
        if layer.residual is not None:
            # Ignored by the builder's list of arrays where the residual is a shortcut convolution.
            arrays[f"L{i}.residual_current"] = _int32(lsb[layer.residual + 1] / fine)
    return arrays


def _int32(values: Float64Array) -> npt.NDArray[np.int32]:
    """Round, and stop at the ends of int32: such a bias saturates any membrane anyway."""
    return np.clip(np.round(values), -(2**31), 2**31 - 1).astype(np.int32)


def _spec(layer: FloatLayer) -> LayerSpec:
    return LayerSpec(
        name=layer.name,
        kind=layer.kind,
        source=layer.source,
        channels=None if layer.weight is None else len(layer.weight),
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        spikes=layer.spikes,
        residual=layer.residual,
    )
