"""The paper's networks with zero weights: enough for everything that only depends on shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from imcsim.network.build import LayerSpec, build_network, derive_layers, expected_arrays
from imcsim.network.layers import Network
from tests.small_networks import HALF, conv, linear, pool

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def vgg16() -> Network:
    """13 convolutions and a classifier on 3×32×32; the fifth pool is the global one."""
    specs: list[LayerSpec] = []
    for entry in VGG16:
        source = len(specs) - 1
        if isinstance(entry, int):
            specs.append(conv(f"conv{source + 2}", source, entry))
        else:
            specs.append(pool(f"pool{source + 2}", source, "max_pool"))
    specs.append(linear("fc", len(specs) - 1, 10))
    return zero_network("vgg16", specs)


def resnet19() -> Network:
    """17 3×3 and two 1×1 convolutions and a classifier (Li et al., DAC 2023, the authors' code)."""
    specs = [conv("stem", -1, 128)]
    for stage, (blocks, channels) in enumerate([(3, 128), (3, 256), (2, 512)]):
        for block in range(blocks):
            shrinks = stage > 0 and block == 0
            stride, start = 1 + shrinks, len(specs) - 1
            name = f"stage{stage + 1}.{block + 1}"
            specs.append(conv(f"{name}a", start, channels, stride=stride))
            inner = residual = len(specs) - 1
            if shrinks:
                shape: dict[str, Any] = {"kernel": 1, "padding": 0, "spikes": False}
                specs.append(pool(f"{name}pool", start, "avg_pool"))
                specs.append(conv(f"{name}short", len(specs) - 1, channels, **shape))
                residual = len(specs) - 1
            else:
                residual = start
            specs.append(conv(f"{name}b", inner, channels, residual=residual))
    specs.append(pool("pool", len(specs) - 1, "avg_pool", 8))
    specs.append(linear("fc", len(specs) - 1, 10))
    return zero_network("resnet19", specs)


def zero_network(
    name: str, specs: list[LayerSpec], image_shape: tuple[int, int, int] = (3, 32, 32)
) -> Network:
    """Weights 0, thresholds 1, binary images."""
    layers = derive_layers(image_shape, (0, 1), specs)
    ones = ("threshold", "scale")
    arrays = {
        key: np.full(shape, 1 if key.endswith(ones) else 0, dtype)
        for key, (dtype, shape) in expected_arrays(layers).items()
    }
    return build_network(
        name=name, image_shape=image_shape, classes=layers[-1].output_shape[0], timesteps=4,
        encoding="direct", neuron=HALF, input_table=np.zeros((image_shape[0], 256), np.int8),
        logit_scale=1.0, specs=specs, arrays=arrays,
    )  # fmt: skip
