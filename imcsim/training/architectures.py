"""The networks of the paper as lists of layers: spiking VGG-16 and ResNet-19, of any width.

Both follow the authors' published code (``models/spike_vgg.py`` and ``models/resnet.py`` of the
DT-SNN repository), which the paper (Li et al., DAC 2023) does not describe in detail. Every
convolution but a 1×1 shortcut is followed by batch normalisation and LIF neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from imcsim.network.build import LayerSpec

Pool = Literal["avg", "max"]
Head = Literal["pool", "flatten"]

VGG16_CHANNELS: tuple[int | Literal["pool"], ...] = (
    64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512,
)  # fmt: skip
"""13 convolutions; "VGG-16" without the two hidden fully connected layers."""

RESNET19_STAGES = ((128, 3, 1), (256, 3, 2), (512, 2, 2))
"""Channels, blocks and stride of each stage: 17 3×3 and 2 1×1 convolutions, one linear layer."""


def vgg(
    image_side: int,
    classes: int,
    channels: Sequence[int | Literal["pool"]] = VGG16_CHANNELS,
    width: float = 1.0,
    pool: Pool = "avg",
    head: Head = "pool",
) -> tuple[LayerSpec, ...]:
    """3×3 convolutions and 2×2 pools in a row, then one linear layer.

    Parameters
    ----------
    image_side
        Height and width of the image [pixels].
    width
        Multiplies the number of channels.
    pool
        ``avg`` as in the paper's code: the next layer reads counts 0..4. ``max`` is an OR of
        spikes, so that all layers but the first have binary inputs.
    head
        What the linear layer reads: ``pool`` is one value per channel, pooled over what is left of
        the map, as in VGG-16; ``flatten`` the whole map, as in the authors' network for event data.

    Raises
    ------
    ValueError
        If the image is too small for the pools.
    """
    layers: list[LayerSpec] = []
    side = image_side
    convolutions = pools = 0
    for entry in channels:
        if entry == "pool":
            pools += 1
            layers.append(_pool(f"pool{pools}", pool, len(layers) - 1, 2))
            side //= 2
            if not side:
                raise ValueError(f"{pools} pools need an image of at least {2**pools} pixels")
            continue
        convolutions += 1
        layers.append(_conv(f"conv{convolutions}", len(layers) - 1, _scaled(entry, width)))
    if side > 1 and head == "pool":
        layers.append(_pool(f"pool{pools + 1}", pool, len(layers) - 1, side))
    return (*layers, LayerSpec(name="fc", kind="linear", source=len(layers) - 1, channels=classes))


def resnet19(image_side: int, classes: int, width: float = 1.0) -> tuple[LayerSpec, ...]:
    """One convolution, eight residual blocks in three stages, global average pool, linear layer.

    A block is conv-BN-LIF-conv-BN, plus its input, LIF. Where the shape changes, the input goes
    through an average pool and a 1×1 convolution with BN. (tdBN's original, Zheng et al., AAAI
    2021, had one more fully connected layer.)

    Raises
    ------
    ValueError
        If the image's side is not a multiple of 4.
    """
    if image_side % 4:
        raise ValueError(f"the image must have a side that 4 divides, not {image_side}")
    layers = [_conv("conv1", -1, _scaled(RESNET19_STAGES[0][0], width))]
    block = 0
    for channels, blocks, stride in RESNET19_STAGES:
        for k in range(blocks):
            block += 1
            _add_block(layers, f"block{block}", _scaled(channels, width), stride if k == 0 else 1)
    layers.append(_pool("pool", "avg", len(layers) - 1, image_side // 4))
    return (*layers, LayerSpec(name="fc", kind="linear", source=len(layers) - 1, channels=classes))


def _add_block(layers: list[LayerSpec], name: str, channels: int, stride: int) -> None:
    """Append one residual block; the last layer of `layers` is its input."""
    entry = len(layers) - 1
    shortcut = entry
    # Also where a narrow network has as many channels before as after.
    if stride > 1 or channels != layers[entry].channels:
        source = entry
        if stride > 1:
            layers.append(_pool(f"{name}_pool", "avg", entry, stride))
            source = len(layers) - 1
        shortcut = len(layers)
        layers.append(
            LayerSpec(name=f"{name}_shortcut", kind="conv", source=source, channels=channels)
        )
    layers.append(_conv(f"{name}_conv1", entry, channels, stride))
    layers.append(_conv(f"{name}_conv2", len(layers) - 1, channels, residual=shortcut))


def _conv(
    name: str, source: int, channels: int, stride: int = 1, residual: int | None = None
) -> LayerSpec:
    return LayerSpec(
        name=name,
        kind="conv",
        source=source,
        channels=channels,
        kernel=3,
        stride=stride,
        padding=1,
        spikes=True,
        residual=residual,
    )


def _pool(name: str, pool: Pool, source: int, side: int) -> LayerSpec:
    kind: Literal["avg_pool", "max_pool"] = "avg_pool" if pool == "avg" else "max_pool"
    return LayerSpec(name=name, kind=kind, source=source, kernel=side, stride=side)


def _scaled(channels: int, width: float) -> int:
    return max(round(channels * width), 1)
