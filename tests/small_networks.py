"""Tiny random integer networks (and workloads) that the tests of every package share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from imcsim.network.build import (
    LayerSpec,
    build_network,
    derive_layers,
    expected_arrays,
    image_range,
)
from imcsim.network.layers import Network, Neuron
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload

HALF = Neuron(leak_multiplier=1, leak_shift=1, reset="hard", fraction_bits=4, membrane_bits=16)
"""τ = 0.5, the default arithmetic."""


def random_network(
    specs: Sequence[LayerSpec],
    image_shape: tuple[int, int, int],
    *,
    seed: int = 0,
    neuron: Neuron = HALF,
    timesteps: int = 3,
    encoding: Literal["direct", "events"] = "direct",
    signed_image: bool = True,
    name: str = "tiny",
) -> Network:
    """Random weights, thresholds of the size of the currents: a good part of the neurons fires."""
    rng = np.random.default_rng(seed)
    low, high = (-127, 128) if signed_image else (0, 16)
    table = rng.integers(low, high, (image_shape[0], 256)).astype(np.int8)
    if encoding == "events":
        table = np.broadcast_to(np.minimum(np.arange(256), 3), table.shape).astype(np.int8)
    layers = derive_layers(image_shape, image_range(table), specs)
    logit_scale = 2.0**-7
    arrays: dict[str, Any] = {}
    highest = 2 ** (neuron.membrane_bits - 1) - 2
    for key, (dtype, shape) in expected_arrays(layers).items():
        index, field = key[1:].split(".")
        layer = layers[int(index)]
        rows = layer.input_shape[0] * layer.window[0] * layer.window[1]
        # Small weights where 8-bit pixels arrive: 16-bit membranes saturate only now and then.
        sigma = 3.0 if layer.input_max > 9 else 40.0
        spread = sigma * rows**0.5 * max(layer.input_max, 1) ** 0.8 * 2.0**neuron.fraction_bits
        if field == "weight":
            drawn = np.round(rng.normal(0.2, 1, shape) * sigma)
            arrays[key] = np.clip(drawn, -127, 127).astype(dtype)
        elif field == "scale":
            arrays[key] = (
                rng.uniform(0.5, 2.0, shape) / 64 if layer.spikes else np.full(shape, logit_scale)
            )
        elif field == "threshold":
            arrays[key] = np.clip(rng.uniform(0.2, 0.8, shape) * spread, 1, highest).astype(dtype)
        elif field == "residual_current":
            arrays[key] = np.round(rng.uniform(0.1, 0.6, shape) * spread).astype(dtype)
        else:
            is_last = int(index) == len(layers) - 1
            size = spread / 8 if layer.spikes else (20.0 if is_last else 0.0)
            arrays[key] = np.round(rng.normal(0, 1, shape) * size).astype(dtype)
    return build_network(
        name=name,
        image_shape=image_shape,
        classes=layers[-1].output_shape[0],
        timesteps=timesteps,
        encoding=encoding,
        neuron=neuron,
        input_table=table,
        logit_scale=logit_scale,
        specs=specs,
        arrays=arrays,
    )


def conv(name: str, source: int, channels: int, **fields: Any) -> LayerSpec:
    """A 3×3 spiking convolution with padding 1, unless `fields` say otherwise."""
    said: dict[str, Any] = {"kernel": 3, "padding": 1, "spikes": True} | fields
    return LayerSpec(name=name, kind="conv", source=source, channels=channels, **said)


def pool(
    name: str, source: int, kind: Literal["max_pool", "avg_pool"], kernel: int = 2
) -> LayerSpec:
    return LayerSpec(name=name, kind=kind, source=source, kernel=kernel, stride=kernel)


def linear(name: str, source: int, channels: int, spikes: bool = False) -> LayerSpec:
    return LayerSpec(name=name, kind="linear", source=source, channels=channels, spikes=spikes)


def max_pool_network(seed: int = 0, **options: Any) -> Network:
    """conv, max pool, conv, linear with h×w input; binary inputs everywhere but at the image. 2×6×6
    image.
    """
    specs = [
        conv("conv1", -1, 5),
        pool("pool1", 0, "max_pool"),
        conv("conv2", 1, 7),
        linear("fc", 2, 4),
    ]
    return random_network(specs, (2, 6, 6), seed=seed, **options)


def avg_pool_network(seed: int = 0, **options: Any) -> Network:
    """Average pools make counts: 0..4 into conv2, 0..9 into the classifier. 1×6×6 image."""
    specs = [
        conv("conv1", -1, 4),
        pool("pool1", 0, "avg_pool"),
        conv("conv2", 1, 6),
        pool("pool2", 2, "avg_pool", 3),
        linear("fc", 3, 3),
    ]
    return random_network(specs, (1, 6, 6), seed=seed, **options)


def residual_network(seed: int = 0, **options: Any) -> Network:
    """A block with an identity shortcut and a strided block with a 1×1 shortcut convolution. 2×6×6
    image.
    """
    specs = [
        conv("stem", -1, 4),
        conv("block1a", 0, 4),
        conv("block1b", 1, 4, residual=0),
        conv("block2a", 2, 6, stride=2),
        conv("shortcut2", 2, 6, kernel=1, padding=0, stride=2, spikes=False),
        conv("block2b", 3, 6, residual=4),
        pool("pool", 5, "avg_pool", 3),
        linear("fc", 6, 3),
    ]
    return random_network(specs, (2, 6, 6), seed=seed, **options)


def linear_network(seed: int = 0, **options: Any) -> Network:
    """Only linear layers; the first one reads a 2×3×4 image."""
    return random_network(
        [linear("hidden", -1, 9, spikes=True), linear("fc", 0, 3)], (2, 3, 4), seed=seed, **options
    )


def events_network(seed: int = 0, **options: Any) -> Network:
    """Two-polarity event counts, one frame per timestep; 2×6×6 frames."""
    specs = [conv("conv1", -1, 5), pool("pool1", 0, "avg_pool"), linear("fc", 1, 3)]
    return random_network(specs, (2, 6, 6), seed=seed, encoding="events", **options)


SMALL_NETWORKS = {
    "max_pool": max_pool_network,
    "avg_pool": avg_pool_network,
    "residual": residual_network,
    "linear": linear_network,
    "events": events_network,
}
"""Name to builder ``(seed=0, **options) -> Network``, for parametrised tests."""


def random_images(network: Network, n: int, seed: int = 0) -> np.ndarray:
    """uint8 (n, c, h, w), or frames (n, t, c, h, w) of 0..3 events."""
    rng = np.random.default_rng(seed + 1000)
    if network.encoding == "events":
        return rng.integers(0, 4, (n, network.timesteps, *network.image_shape)).astype(np.uint8)
    return rng.integers(0, 256, (n, *network.image_shape)).astype(np.uint8)


def random_workload(network: Network, n: int = 6, seed: int = 0, **fields: Any) -> Workload:
    """A workload around `network` with random images and labels and true golden logits."""
    rng = np.random.default_rng(seed + 2000)
    images = random_images(network, n, seed)
    golden = run_reference(network, images[: min(n, 4)]).logits.astype(np.int32)
    said: dict[str, Any] = {
        "theta": {"entropy": {"sum": 0.3, "mean": [0.2] * network.timesteps}},
        "provenance": {"made_by": "tests/small_networks.py"},
    } | fields
    return Workload(
        network=network,
        images=images,
        labels=rng.integers(0, network.classes, n),
        calibration_images=random_images(network, n, seed + 1),
        calibration_labels=rng.integers(0, network.classes, n),
        golden_logits=golden,
        **said,
    )
