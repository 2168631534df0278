"""The numpy reference of the integer spiking network: small and obvious, against which the
simulator is checked.

It follows docs/design.md, "Numbers": ``v = leak(u) + (acc << F) + b``, one clip, ``v > θ`` fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imcsim.network.build import accumulator_bound
from imcsim.network.layers import IMAGE, Layer, Network, Neuron

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReferenceRun:
    """What the reference saw."""

    logits: Int64Array
    """(n, t, classes): class scores of each timestep alone, in accumulator LSBs."""
    saturations: Int64Array
    """(layers,): how often the clip to W bits changed a membrane potential."""
    outputs: tuple[npt.NDArray[np.int32], ...] | None = None
    """Per layer (n, t, c, h, w), if recorded: spikes, counts, or accumulators where there are no
    neurons.
    """
    accumulators: tuple[npt.NDArray[np.int32] | None, ...] | None = None
    """Per layer (n, t, c, h, w), if recorded: what the crossbars give, before residual and bias;
    None for pools.
    """


def run_reference(
    network: Network,
    images: npt.NDArray[np.uint8],
    timesteps: int | None = None,
    record: bool = False,
    batch: int = 32,
) -> ReferenceRun:
    """Run images through the network.

    Parameters
    ----------
    images : uint8 (n, c, h, w), or (n, t, c, h, w) for an `events` network
    timesteps : int, optional
        Default: the network's.
    record : bool
        Keep every layer's outputs and accumulators; memory grows with n · t.
    batch : int
        Images that travel together; no influence on the result.
    """
    steps = network.timesteps if timesteps is None else timesteps
    runs = [
        _run_batch(network, images[start : start + batch], steps, record)
        for start in range(0, len(images), batch)
    ]
    if not runs:
        return ReferenceRun(
            np.zeros((0, steps, network.classes), np.int64), np.zeros(len(network.layers), np.int64)
        )
    return ReferenceRun(
        logits=np.concatenate([run.logits for run in runs]),
        saturations=np.sum([run.saturations for run in runs], axis=0),
        outputs=_joined([run.outputs for run in runs]) if record else None,
        accumulators=_joined([run.accumulators for run in runs]) if record else None,
    )


def _joined(parts: list[Any]) -> Any:
    """Concatenate per-layer arrays of several batches along the images."""
    return tuple(
        None if arrays[0] is None else np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )


def _run_batch(
    network: Network, images: npt.NDArray[np.uint8], steps: int, record: bool
) -> ReferenceRun:
    encoded = network.encode(images).astype(np.int64)
    potentials = [
        np.zeros((len(images), *layer.output_shape), np.int64) for layer in network.layers
    ]
    saturations = np.zeros(len(network.layers), np.int64)
    history: list[list[Int64Array]] = [[] for _ in network.layers]
    acc_history: list[list[Int64Array]] = [[] for _ in network.layers]
    logits = np.zeros((len(images), steps, network.classes), np.int64)
    for t in range(steps):
        frame = encoded[:, t] if network.encoding == "events" else encoded
        outputs: list[Int64Array] = []
        for i, layer in enumerate(network.layers):
            x = frame if layer.source == IMAGE else outputs[layer.source]
            acc = accumulate(layer, x)
            if layer.spikes:
                current = _current(network, layer, acc, outputs)
                potentials[i], spikes, clipped = lif(
                    potentials[i], current, layer.threshold, network.neuron
                )
                saturations[i] += clipped
                outputs.append(spikes)
            else:
                outputs.append(acc if layer.is_pool else acc + _per_channel(layer.bias))
            if record:
                history[i].append(outputs[i])
                acc_history[i].append(acc)
        logits[:, t] = outputs[-1][:, :, 0, 0]
    if not record:
        return ReferenceRun(logits, saturations)
    return ReferenceRun(
        logits,
        saturations,
        tuple(np.stack(h, axis=1).astype(np.int32) for h in history),
        tuple(
            None if layer.is_pool else np.stack(h, axis=1).astype(np.int32)
            for layer, h in zip(network.layers, acc_history, strict=True)
        ),
    )


def _per_channel(values: npt.NDArray[np.integer] | None) -> Int64Array:
    """(c,) as int64 (c, 1, 1)."""
    assert values is not None
    return values.astype(np.int64)[:, None, None]


def _current(
    network: Network, layer: Layer, acc: Int64Array, outputs: list[Int64Array]
) -> Int64Array:
    """``(acc << F) + b`` plus the residual: integers before the shift, spikes after it."""
    current = _per_channel(layer.bias)
    if layer.residual is not None:
        added = outputs[layer.residual]
        if layer.residual_current is None:
            acc = acc + added
        else:
            current = current + _per_channel(layer.residual_current) * added
    return (acc << network.neuron.fraction_bits) + current


def leak(u: Int64Array, neuron: Neuron) -> Int64Array:
    """``(u·m + 2^(n−1)) >> n``: floor shift, so −1 at τ = 1/2 becomes 0 and −3 becomes −1."""
    if neuron.leak_shift == 0:
        return u * neuron.leak_multiplier
    half = 1 << (neuron.leak_shift - 1)
    return (u * neuron.leak_multiplier + half) >> neuron.leak_shift


def lif(
    u: Int64Array, current: Int64Array, threshold: npt.NDArray[np.integer] | None, neuron: Neuron
) -> tuple[Int64Array, Int64Array, int]:
    """One timestep of LIF neurons (n, c, h, w).

    Returns
    -------
    u, spikes : int64 (n, c, h, w)
    saturations : int
        Potentials that the clip to W bits changed.
    """
    theta = _per_channel(threshold)
    top = (1 << (neuron.membrane_bits - 1)) - 1
    free = leak(u, neuron) + current
    v = np.clip(free, -top - 1, top)
    spikes = (v > theta).astype(np.int64)
    after_spike = v - theta if neuron.reset == "soft" else np.zeros_like(v)
    return np.where(spikes == 1, after_spike, v), spikes, int(np.count_nonzero(v != free))


def accumulate(layer: Layer, x: Int64Array) -> Int64Array:
    """The integers a layer makes of its input: dot products, or the OR or count of a pool.

    Parameters
    ----------
    x : int64 (n, c_in, h, w)

    Returns
    -------
    int64 (n, c_out, h_out, w_out)
    """
    if layer.is_pool:
        windows = _windows(x, layer.kernel, layer.stride, 0)
        k = layer.kernel
        # Much faster than to reduce over the two short axes of the windows themselves.
        shifted = np.stack([windows[..., dy, dx] for dy in range(k) for dx in range(k)])
        pooled: Int64Array = (np.max if layer.kind == "max_pool" else np.sum)(shifted, axis=0)
        return pooled
    assert layer.weight is not None
    # Whole numbers are exact in floating point, in every order of summation, up to 2^24 and 2^53.
    real = np.float32 if accumulator_bound(layer) < 2**24 else np.float64
    n = len(x)
    c_out, h_out, w_out = layer.output_shape
    if layer.kind == "linear":
        columns = x.reshape(n, -1).T
    else:
        windows = _windows(x.astype(real), layer.kernel, layer.stride, layer.padding)
        columns = windows.transpose(1, 4, 5, 0, 2, 3).reshape(-1, n * h_out * w_out)
    sums = layer.weight.reshape(c_out, -1).astype(real) @ columns.astype(real, copy=False)
    exact = sums.astype(np.int64).reshape(c_out, n, h_out, w_out)
    return np.ascontiguousarray(exact.transpose(1, 0, 2, 3))


def _windows(x: npt.NDArray[Any], kernel: int, stride: int, padding: int) -> npt.NDArray[Any]:
    """All windows of x (n, c, h, w), zero padded: (n, c, h_out, w_out, kernel, kernel)."""
    if padding:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    return windows[:, :, ::stride, ::stride]
