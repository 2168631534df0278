"""AutoAugment's CIFAR-10 policy (Cubuk et al., CVPR 2019, arXiv:1805.09501) on whole batches.

Each operation does bit for bit what Pillow does, on the device where the images are.

Magnitudes are ten equal steps, 0 to 9, over the ranges of the paper's Table 6; translations are
150/331 of the image at most (the paper gives 150 pixels of 331). Signs are random for shear,
translation and rotation, as in the paper's code, and also for contrast, colour, brightness and
sharpness: their factor is 1 ± 0.1·level, as in torchvision and in the PyTorch port that code of
spiking networks uses; the paper's own code has 0.1 + 0.18·level there. What a geometric operation
brings in from outside is grey, 128, as in that port (torchvision: black), and all of them take the
nearest pixel, as in the paper's code and torchvision (the port shears bicubically).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

OperationName = Literal[
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "AutoContrast",
    "Invert",
    "Equalize",
    "Solarize",
    "Posterize",
    "Contrast",
    "Color",
    "Brightness",
    "Sharpness",
]
Step = tuple[OperationName, float, int]
"""Operation, its probability, level 0 to 9 of its magnitude."""

CIFAR10_POLICY: tuple[tuple[Step, Step], ...] = (
    (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
    (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
)
"""The 25 sub-policies of Table 7 of the paper: two steps each, in this order."""

GREY = 128
"""Value of pixels from outside the image."""

_LAST_LEVEL = 9


def autoaugment_cifar10(images: Tensor, generator: torch.Generator) -> Tensor:
    """Give each image a sub-policy of its own.

    Parameters
    ----------
    images
        uint8 (n, c, h, w), c = 1 (grey) or 3 (red, green, blue); not changed.
    generator
        On the device of the images. The number of values drawn depends on n alone.

    Raises
    ------
    ValueError
        Not such images (event frames, for one), or a generator of another device.
    """
    check_images(images, generator, "AutoAugment", dims=(4,))
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"AutoAugment is for grey or RGB images, not for {images.shape[1]} channels"
        )
    choice = choose(len(images), generator)
    numbers = torch.arange(len(OPERATIONS) + 1, device=images.device)
    # The only wait for the device in a batch: how many images each operation gets in each step.
    counts = (choice.operation[..., None] == numbers).sum(0).tolist()
    result = images.clone()
    for step in range(2):
        groups = torch.split(choice.operation[:, step].argsort(stable=True), counts[step])
        for operation, members in zip(OPERATIONS.values(), groups, strict=False):
            if len(members):
                magnitude = choice.magnitude[members, step]
                result[members] = operation.apply(result[members], magnitude)
    return result


def check_images(
    images: Tensor, generator: torch.Generator, who: str, dims: tuple[int, ...]
) -> None:
    """Raise ValueError unless `images` is a uint8 batch of one of so many dimensions, on the
    generator's device."""
    if images.dtype != torch.uint8:
        raise ValueError(f"{who} works on uint8 images, not on {images.dtype}")
    if images.dim() not in dims:
        shapes = {4: "(n, c, h, w)", 5: "(n, t, c, h, w)"}
        allowed = " or ".join(shapes[dim] for dim in dims)
        raise ValueError(f"{who} needs images {allowed}, not of shape {tuple(images.shape)}")
    if images.device.type != generator.device.type:
        raise ValueError(
            f"images are on {images.device}, but the generator is on {generator.device}"
        )


class Choice(NamedTuple):
    """What is done to each of n images, in two steps."""

    sub_policy: Tensor
    """int64 (n,): index into `CIFAR10_POLICY`."""
    operation: Tensor
    """int64 (n, 2): index into `OPERATIONS`; ``len(OPERATIONS)`` for none."""
    magnitude: Tensor
    """float64 (n, 2): as the operation takes it, sign and all."""


def choose(n: int, generator: torch.Generator) -> Choice:
    """Draw sub-policies, whether their steps are taken, and signs, for `n` images."""
    device = generator.device
    sub_policy = torch.randint(len(CIFAR10_POLICY), (n,), generator=generator, device=device)
    taken = torch.rand(n, 2, generator=generator, device=device)
    sign = torch.randint(2, (n, 2), generator=generator, device=device) * 2 - 1
    policy = torch.tensor(_policy_table(), dtype=torch.float64, device=device)
    operation, probability, base, span, signed = policy[sub_policy].unbind(-1)
    return Choice(
        sub_policy,
        operation.masked_fill(taken >= probability, len(OPERATIONS)).long(),
        base + span * torch.where(signed > 0, sign, 1),
    )


def _policy_table() -> list[list[tuple[float, ...]]]:
    """Per sub-policy and step: operation, probability, magnitude, random part of it, signed."""
    index = {name: number for number, name in enumerate(OPERATIONS)}
    return [
        [
            (
                index[name],
                probability,
                OPERATIONS[name].base,
                OPERATIONS[name].span * level / _LAST_LEVEL,
                OPERATIONS[name].is_signed,
            )
            for name, probability, level in steps
        ]
        for steps in CIFAR10_POLICY
    ]


# Operations: uint8 (n, c, h, w) and float64 magnitudes (n,) in, new images out.


def shear_x(images: Tensor, shear: Tensor) -> Tensor:
    """Output (x, y) is input (x + shear·y, y)."""
    zero, one = torch.zeros_like(shear), torch.ones_like(shear)
    return _affine(images, (one, shear, zero, zero, one, zero))


def shear_y(images: Tensor, shear: Tensor) -> Tensor:
    """Output (x, y) is input (x, y + shear·x)."""
    zero, one = torch.zeros_like(shear), torch.ones_like(shear)
    return _affine(images, (one, zero, zero, shear, one, zero))


def translate_x(images: Tensor, share: Tensor) -> Tensor:
    """Shift to the left by a share of the width."""
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    # Pillow takes floats here and fixed point elsewhere; whole pixels are the same in both.
    pixels = (share * images.shape[3] + 0.5).floor()
    return _affine(images, (one, zero, pixels, zero, one, zero))


def translate_y(images: Tensor, share: Tensor) -> Tensor:
    """Shift upwards by a share of the height."""
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    pixels = (share * images.shape[2] + 0.5).floor()
    return _affine(images, (one, zero, zero, zero, one, pixels))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise about the centre."""
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    x, y = images.shape[3] / 2, images.shape[2] / 2
    return _affine(images, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to 0..255."""
    low = images.amin((2, 3))[..., None].double()
    high = images.amax((2, 3))[..., None].double()
    # Not `255 / x`, which torch computes as `255 · (1 / x)`, rounded twice.
    scale = torch.full_like(high, 255) / (high - low)
    values = _values(images)
    stretched = (values * scale - low * scale).clamp(0, 255)
    return _look_up(images, torch.where(high > low, stretched, values))


def invert(images: Tensor, _: Tensor) -> Tensor:
    return 255 - images


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Give each channel a flat histogram."""
    pixels = images.flatten(2).long()
    histogram = pixels.new_zeros(*pixels.shape[:2], 256)
    histogram.scatter_add_(2, pixels, torch.ones_like(pixels))
    in_last = histogram.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - in_last) // 255
    below = histogram.cumsum(2) - histogram
    flat = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return _look_up(images, torch.where(step > 0, flat, _values(images)))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values from the threshold on."""
    return torch.where(images < threshold.view(-1, 1, 1, 1), images, 255 - images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits, rounded to a whole number of them."""
    mask = 256 - (1 << (8 - bits.round().long()))
    return images & mask.to(torch.uint8).view(-1, 1, 1, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (factor > 1) or towards the mean of the grey image."""
    luma = _luma(images).flatten(1)
    mean = (2 * luma.sum(1) + luma.shape[1]) // (2 * luma.shape[1])
    return _look_up(images, _blend(mean.view(-1, 1, 1), _values(images), factor.view(-1, 1, 1)))


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (factor > 1) or towards the grey image."""
    return _blend(_luma(images), images, factor.view(-1, 1, 1, 1))


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (factor > 1) or towards black."""
    black = torch.zeros_like(factor).view(-1, 1, 1)
    return _look_up(images, _blend(black, _values(images), factor.view(-1, 1, 1)))


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from (factor > 1) or towards the smoothed image."""
    return _blend(_smooth(images), images, factor.view(-1, 1, 1, 1))


@dataclass(frozen=True)
class Operation:
    """An operation and its magnitudes: `base` + `span`·level/9, or ± where signed."""

    apply: Callable[[Tensor, Tensor], Tensor]
    base: float = 0.0
    span: float = 0.0
    is_signed: bool = False


OPERATIONS: Mapping[OperationName, Operation] = MappingProxyType(
    {
        "ShearX": Operation(shear_x, 0, 0.3, True),
        "ShearY": Operation(shear_y, 0, 0.3, True),
        "TranslateX": Operation(translate_x, 0, 150 / 331, True),
        "TranslateY": Operation(translate_y, 0, 150 / 331, True),
        "Rotate": Operation(rotate, 0, 30, True),
        "AutoContrast": Operation(autocontrast),
        "Invert": Operation(invert),
        "Equalize": Operation(equalize),
        "Solarize": Operation(solarize, 256, -256),
        "Posterize": Operation(posterize, 8, -4),
        "Contrast": Operation(contrast, 1, 0.9, True),
        "Color": Operation(color, 1, 0.9, True),
        "Brightness": Operation(brightness, 1, 0.9, True),
        "Sharpness": Operation(sharpness, 1, 0.9, True),
    }
)


def _affine(images: Tensor, matrix: tuple[Tensor, ...]) -> Tensor:
    """Output (x, y) is input (a·x + b·y + c, d·x + e·y + f), the nearest pixel.

    In 16.16 fixed point, coordinates of pixel centres: Pillow's rounding.
    """
    a, b, c, d, e, f = matrix
    c, f = c + a * 0.5 + b * 0.5, f + d * 0.5 + e * 0.5
    a, b, c, d, e, f = ((v * 65536 + 0.5).floor().long().view(-1, 1, 1) for v in (a, b, c, d, e, f))
    h, w = images.shape[2:]
    y, x = torch.arange(h, device=images.device)[:, None], torch.arange(w, device=images.device)
    source_x = (a * x + b * y + c) >> 16
    source_y = (d * x + e * y + f) >> 16
    outside = (source_x < 0) | (source_x >= w) | (source_y < 0) | (source_y >= h)
    source = (source_y * w + source_x).masked_fill_(outside, 0).flatten(1)[:, None]
    pixels = images.flatten(2).gather(2, source.expand(-1, images.shape[1], -1))
    return pixels.view(images.shape).masked_fill_(outside[:, None], GREY)


def _values(images: Tensor) -> Tensor:
    """0..255: what a table that changes nothing holds."""
    return torch.arange(256, device=images.device)


def _look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace each value by the entry of a table (n, c or 1, 256), cut to a whole number."""
    n, channels = images.shape[:2]
    tables = tables.to(torch.uint8).expand(n, channels, 256)
    return tables.gather(2, images.flatten(2).long()).view(images.shape)


def _blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """``degenerate + factor · (images − degenerate)`` in float32, clipped and cut to uint8."""
    start = degenerate.float()
    # Not lerp or addcmul: fused, they would round once where Pillow rounds twice.
    blended = (images - start).mul_(factor.float()).add_(start)
    return blended.clamp_(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """Grey image, int64 (n, 1, h, w): ITU-R 601 luma, in Pillow's 16 fraction bits."""
    if images.shape[1] == 1:
        return images.long()
    red, green, blue = images.long()[:, :, None].unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _smooth(images: Tensor) -> Tensor:
    """Mean of the 3×3 neighbourhood, the middle five times; the outermost pixels stay.

    In integers: a thirteenth is never half way, so Pillow's floats round to the same.
    """
    wide = images.to(torch.int16)
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    window = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (2 * (window + 4 * wide[..., 1:-1, 1:-1]) + 13) // 26
    return smooth
