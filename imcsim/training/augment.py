"""Random crops, flips and cutouts of whole batches, on the device where the images are.

Every image of a batch draws for itself; all frames of an event recording share one draw. The same
generator state gives the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from imcsim.training.autoaugment import autoaugment_cifar10, check_images

_IMAGES_OR_FRAMES = (4, 5)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `padding` pixels in each direction, black coming in.

    Parameters
    ----------
    images
        uint8 (n, c, h, w), or event frames (n, t, c, h, w).
    padding
        Black pixels added on each side before a window of the old size is cut out; each of the
        ``(2·padding + 1)²`` windows is equally likely.
    generator
        On the device of the images.

    Raises
    ------
    ValueError
        Not such images, a negative padding, or a generator of another device.
    """
    check_images(images, generator, "random_crop", _IMAGES_OR_FRAMES)
    if padding < 0:
        raise ValueError(f"padding must not be negative, is {padding}")
    if padding == 0:
        return images
    n, (h, w) = len(images), images.shape[-2:]
    y, x = torch.randint(2 * padding + 1, (2, n), generator=generator, device=images.device)
    planes = pad(images.flatten(1, -3), (padding,) * 4)
    windows = planes.unfold(2, h, 1).unfold(3, w, 1)
    return windows[torch.arange(n, device=images.device), :, y, x].reshape(images.shape)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image, left to right, with probability 1/2.

    Arguments and errors as for `random_crop`.
    """
    check_images(images, generator, "random_flip", _IMAGES_OR_FRAMES)
    flips = torch.randint(2, (len(images),), generator=generator, device=images.device) > 0
    return torch.where(_per_image(flips, images), images.flip(-1), images)


def cutout(
    images: Tensor, size: int, generator: torch.Generator, fill: Sequence[int] = (0,)
) -> Tensor:
    """Cover a square of each image (DeVries and Taylor, arXiv:1708.04552).

    Parameters
    ----------
    images, generator
        As for `random_crop`.
    size
        Pixels per side. The centre is any pixel, so squares may be cut off at the border; an even
        size has one pixel more above and left of its centre than below and right.
    fill
        Value 0..255 per channel, or one for all: the paper's 0 of normalised images is the mean.

    Raises
    ------
    ValueError
        Not such images, a negative size, a wrong number of fill values or one outside 0..255,
        or a generator of another device.
    """
    check_images(images, generator, "cutout", _IMAGES_OR_FRAMES)
    if size < 0:
        raise ValueError(f"size must not be negative, is {size}")
    _check_fill(fill)
    if len(fill) not in (1, images.shape[-3]):
        raise ValueError(f"{len(fill)} fill values for {images.shape[-3]} channels")
    if size == 0:
        return images
    inside_y = _interval(images, images.shape[-2], size, generator)
    inside_x = _interval(images, images.shape[-1], size, generator)
    inside = _per_image(inside_y[:, :, None] & inside_x[:, None], images)
    colour = torch.tensor(fill, dtype=torch.uint8, device=images.device).view(-1, 1, 1)
    return torch.where(inside, colour, images)


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images: crop, flip, AutoAugment, cutout, in this order.

    The order of the published loaders for spiking networks on CIFAR-10. Their cutout comes before
    normalisation and so is black, the default here; the paper's is the mean.
    """

    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    """Pixels per side of the covered square; 0: none."""
    autoaugment: bool = False
    fill: tuple[int, ...] = (0,)
    """Value 0..255 of the covered square, per channel or one for all."""

    def __post_init__(self) -> None:
        if self.crop_padding < 0:
            raise ValueError(f"crop_padding must not be negative, is {self.crop_padding}")
        if self.cutout < 0:
            raise ValueError(f"cutout must not be negative, is {self.cutout}")
        _check_fill(self.fill)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment uint8 (n, c, h, w); also (n, t, c, h, w), but not by AutoAugment.

        May return `images` itself; never changes them. Raises ValueError as its parts do.
        """
        check_images(images, generator, "Augmentation", _IMAGES_OR_FRAMES)
        images = random_crop(images, self.crop_padding, generator)
        if self.flip:
            images = random_flip(images, generator)
        if self.autoaugment:
            images = autoaugment_cifar10(images, generator)
        return cutout(images, self.cutout, generator, self.fill)


def _check_fill(fill: Sequence[int]) -> None:
    if not fill or not all(0 <= value <= 255 for value in fill):
        raise ValueError(f"fill must be values 0..255, is {tuple(fill)}")


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Shape values (n, ...) so that they broadcast against images, their own axes last."""
    ones = (1,) * (images.dim() - values.dim())
    return values.view(len(values), *ones, *values.shape[1:])


def _interval(images: Tensor, length: int, size: int, generator: torch.Generator) -> Tensor:
    """Bool (n, length): `size` pixels about a random one, as far as there are so many."""
    device = images.device
    first = torch.randint(length, (len(images), 1), generator=generator, device=device) - size // 2
    pixels = torch.arange(length, device=device)
    return (pixels >= first) & (pixels < first + size)
