"""A spiking network in real numbers, before quantisation, with its own numpy forward pass.

It serves conversion and checks; it never meets hardware. Equations (2)-(3) of Li et al., DAC 2023:
``v = τ u + I``; a spike where ``v > V_th``; then ``u = 0`` (hard) or ``u = v − V_th`` (soft reset).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from imcsim.network.layers import IMAGE, Shape

FloatArray = npt.NDArray[np.floating]
Single = npt.NDArray[np.float32]
Folded = tuple[Single, Single]
"""Weight and bias with the batch norm inside."""


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``γ (x − mean) / sqrt(var + eps) + β`` per channel, statistics frozen; arrays (c,)."""

    gamma: FloatArray
    beta: FloatArray
    mean: FloatArray
    variance: FloatArray
    eps: float = 1e-5


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """One layer; the fields mean what they mean in `Layer`. Pools have no arrays."""

    name: str
    kind: Literal["conv", "linear", "max_pool", "avg_pool"]
    source: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    spikes: bool = False
    residual: int | None = None
    weight: FloatArray | None = None
    """(c_out, c_in, kernel, kernel), or (c_out, c_in·h·w) of a linear layer."""
    bias: FloatArray | None = None
    """(c_out,)"""
    batch_norm: BatchNorm | None = None
    """Between the convolution and its neurons."""
    v_th: float | FloatArray = 1.0
    """Threshold, one for all or (c_out,)."""

    def folded(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Weight and bias with the batch norm inside: ``w·g`` and ``(b − mean)·g + β``, g =
        γ/sqrt(var + eps).
        """
        if self.weight is None:
            raise TypeError(f"layer {self.name} ({self.kind}) has no weights")
        weight = self.weight.astype(np.float64)
        c_out = len(weight)
        bias = np.zeros(c_out) if self.bias is None else self.bias.astype(np.float64)
        norm = self.batch_norm
        if norm is None:
            return weight, bias
        gain = norm.gamma.astype(np.float64) / np.sqrt(norm.variance.astype(np.float64) + norm.eps)
        shape = (c_out, *(1,) * (weight.ndim - 1))
        return weight * gain.reshape(shape), (bias - norm.mean) * gain + norm.beta


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A complete network in topological order; the last layer is the classifier."""

    name: str
    image_shape: Shape
    classes: int
    timesteps: int
    layers: tuple[FloatLayer, ...]
    mean: FloatArray
    """(c,): of pixel/255, subtracted before the first layer."""
    std: FloatArray
    """(c,): divides after that."""
    tau: float = 0.5
    reset: Literal["hard", "soft"] = "hard"
    encoding: Literal["direct", "events"] = "direct"
    """Event counts enter as they are, without normalisation."""

    def encode(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn pixels uint8 (..., c, h, w) into the real numbers that enter the first layer."""
        if self.encoding == "events":
            return images.astype(np.float32)
        table = self.pixel_values().astype(np.float32)
        channel = np.arange(self.image_shape[0])[:, None, None]
        values: npt.NDArray[np.float32] = table[channel, images]
        return values

    def pixel_values(self) -> npt.NDArray[np.float64]:
        """(c, 256): what each pixel value becomes, ``(p/255 − mean) / std``."""
        pixels = np.arange(256) / 255.0
        mean = np.asarray(self.mean, np.float64)[:, None]
        return (pixels - mean) / np.asarray(self.std, np.float64)[:, None]


def run_float(
    network: FloatNetwork,
    images: npt.NDArray[np.uint8],
    timesteps: int | None = None,
    batch: int = 64,
) -> npt.NDArray[np.float32]:
    """Run images through the network in float32.

    Parameters
    ----------
    images : uint8 (n, c, h, w), or (n, t, c, h, w) for an `events` network

    Returns
    -------
    float32 (n, t, classes)
        Class scores of each timestep alone.
    """
    steps = network.timesteps if timesteps is None else timesteps
    folded = [None if layer.weight is None else _single(layer) for layer in network.layers]
    logits = np.zeros((len(images), steps, network.classes), np.float32)
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        logits[part] = _run_batch(network, folded, network.encode(images[part]), steps)
    return logits


def _single(layer: FloatLayer) -> Folded:
    weight, bias = layer.folded()
    return weight.astype(np.float32), bias.astype(np.float32)


def _run_batch(
    network: FloatNetwork, folded: list[Folded | None], encoded: Single, steps: int
) -> Single:
    potentials: list[Single] = [np.zeros(1, np.float32)] * len(network.layers)
    logits = []
    static: dict[int, Single] = {}
    for t in range(steps):
        frame = encoded[:, t] if network.encoding == "events" else encoded
        outputs: list[Single] = []
        for i, layer in enumerate(network.layers):
            x = frame if layer.source == IMAGE else outputs[layer.source]
            if layer.kind in ("max_pool", "avg_pool"):
                outputs.append(_pool(layer, x))
                continue
            # A static image gives the same current at every timestep.
            if network.encoding == "direct" and layer.source == IMAGE:
                current = (
                    static[i] if i in static else static.setdefault(i, _affine(layer, x, folded[i]))
                )
            else:
                current = _affine(layer, x, folded[i])
            if layer.residual is not None:
                current = current + outputs[layer.residual]
            if layer.spikes:
                potentials[i], current = _lif(network, layer, potentials[i], current)
            outputs.append(current)
        logits.append(outputs[-1][:, :, 0, 0])
    return np.stack(logits, axis=1)


def _lif(
    network: FloatNetwork, layer: FloatLayer, u: Single, current: Single
) -> tuple[Single, Single]:
    v_th = np.asarray(layer.v_th, np.float32).reshape(-1, 1, 1)
    v = np.float32(network.tau) * u + current
    spikes = (v > v_th).astype(np.float32)
    left = v - v_th * spikes if network.reset == "soft" else v * (1 - spikes)
    return left, spikes


def _affine(layer: FloatLayer, x: Single, folded: Folded | None) -> Single:
    """Convolution or linear layer with bias: x (n, c, h, w) to (n, c_out, h_out, w_out)."""
    assert folded is not None
    weight, bias = folded
    n, c_out = len(x), len(weight)
    if layer.kind == "linear":
        return (x.reshape(n, -1) @ weight.T + bias).reshape(n, c_out, 1, 1)
    p, k = layer.padding, layer.kernel
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride]
    h_out, w_out = windows.shape[2:4]
    columns = windows.transpose(1, 4, 5, 0, 2, 3).reshape(-1, n * h_out * w_out)
    sums = weight.reshape(c_out, -1) @ columns + bias[:, None]
    return np.ascontiguousarray(sums.reshape(c_out, n, h_out, w_out).transpose(1, 0, 2, 3))


def _pool(layer: FloatLayer, x: Single) -> Single:
    """Largest or mean value of each window, x (n, c, h, w)."""
    k, s = layer.kernel, layer.stride
    h_out = (x.shape[2] - k) // s + 1
    w_out = (x.shape[3] - k) // s + 1
    shifted = [
        x[:, :, dy : dy + s * (h_out - 1) + 1 : s, dx : dx + s * (w_out - 1) + 1 : s]
        for dy in range(k)
        for dx in range(k)
    ]
    stacked = np.stack(shifted)
    if layer.kind == "max_pool":
        largest: Single = stacked.max(axis=0)
        return largest
    mean: Single = stacked.mean(axis=0, dtype=np.float32)
    return mean
