"""Crop, flip and cutout of batches, against slow loops over single pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from imcsim.training.augment import Augmentation, cutout, random_crop, random_flip
from imcsim.training.autoaugment import autoaugment_cifar10

FILL = (10, 20, 30)

PARTS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": lambda images, generator: random_crop(images, 2, generator),
    "flip": random_flip,
    "cutout": lambda images, generator: cutout(images, 3, generator, FILL),
}
parts = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int) -> Tensor:
    """Without 0, so that black can only be what came in at the border."""
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=seeded(0))


def shifted(image: Tensor, down: int, right: int) -> Tensor:
    moved = torch.zeros_like(image)
    h, w = image.shape[-2:]
    for y in range(h):
        for x in range(w):
            if 0 <= y - down < h and 0 <= x - right < w:
                moved[..., y, x] = image[..., y - down, x - right]
    return moved


def covered(
    image: Tensor, centre_y: int, centre_x: int, size: int, fill: tuple[int, ...]
) -> Tensor:
    """A square of which size // 2 pixels lie above and left of its centre."""
    result = image.clone()
    h, w = image.shape[-2:]
    for y in range(centre_y - size // 2, centre_y - size // 2 + size):
        for x in range(centre_x - size // 2, centre_x - size // 2 + size):
            if 0 <= y < h and 0 <= x < w:
                for channel, value in enumerate(fill):
                    result[..., channel, y, x] = value
    return result


def which(found: Tensor, candidates: list[Tensor]) -> int:
    """Number of the one candidate that equals `found`."""
    matches = [number for number, it in enumerate(candidates) if torch.equal(found, it)]
    assert len(matches) == 1
    return matches[0]


def chi_squared(numbers: list[int], outcomes: int) -> float:
    expected = len(numbers) / outcomes
    counts = torch.tensor(numbers).bincount(minlength=outcomes)
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 2, 5, 7)], ids=["image", "frames"])
def test_every_crop_is_a_shift_and_all_shifts_are_equally_likely(shape: tuple[int, ...]) -> None:
    """χ² with 24 degrees of freedom is below 51.2 in 99.9 % of all cases."""
    image = noise(*shape)
    crops = random_crop(image.expand(2000, *shape), 2, seeded(1))
    shifts = [shifted(image, y, x) for y in range(-2, 3) for x in range(-2, 3)]
    assert chi_squared([which(crop, shifts) for crop in crops], 25) < 51.2


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 2, 5, 7)], ids=["image", "frames"])
def test_half_of_the_images_are_mirrored(shape: tuple[int, ...]) -> None:
    """χ² with one degree of freedom is below 10.8 in 99.9 % of all cases."""
    image = noise(*shape)
    flipped = random_flip(image.expand(2000, *shape), seeded(2))
    mirror = torch.stack([image[..., x] for x in reversed(range(7))], -1)
    assert chi_squared([which(it, [image, mirror]) for it in flipped], 2) < 10.8


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(3, 5, 6), (4, 3, 5, 6)], ids=["image", "frames"])
def test_every_cutout_is_a_square_about_any_pixel(shape: tuple[int, ...], size: int) -> None:
    """χ² with 29 degrees of freedom is below 58.3 in 99.9 % of all cases."""
    image = noise(*shape)
    done = cutout(image.expand(2000, *shape), size, seeded(3), FILL)
    squares = [covered(image, y, x, size, FILL) for y in range(5) for x in range(6)]
    assert chi_squared([which(it, squares) for it in done], 30) < 58.3


def test_a_large_cutout_covers_everything() -> None:
    assert (cutout(noise(4, 2, 6, 6), 12, seeded(0), (9,)) == 9).all()


def test_one_fill_value_serves_all_channels() -> None:
    images = noise(20, 3, 8, 8)
    one = cutout(images, 4, seeded(0), (7,))
    assert torch.equal(one, cutout(images, 4, seeded(0), (7, 7, 7)))


def test_nothing_to_do_changes_nothing() -> None:
    images = noise(5, 3, 8, 8)
    nothing = Augmentation(crop_padding=0, flip=False)
    assert torch.equal(nothing(images, seeded(0)), images)
    assert torch.equal(random_crop(images, 0, seeded(0)), images)
    assert torch.equal(cutout(images, 0, seeded(0)), images)


@parts
def test_the_seed_alone_decides_and_images_are_not_changed(
    part: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    images = noise(50, 3, 8, 8)
    before = images.clone()
    first = part(images, seeded(4))
    assert torch.equal(first, part(images, seeded(4)))
    assert not torch.equal(first, part(images, seeded(5)))
    assert torch.equal(images, before)


@parts
def test_frames_are_treated_alike_and_as_an_image_would_be(
    part: Callable[[Tensor, torch.Generator], Tensor],
) -> None:
    frames = noise(30, 4, 3, 8, 9)
    done = part(frames, seeded(6))
    assert done.shape == frames.shape
    for t in range(4):
        assert torch.equal(done[:, t], part(frames[:, t], seeded(6)))


@parts
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (0, 4, 3, 8, 8)], ids=str)
def test_an_empty_batch_stays_empty(
    part: Callable[[Tensor, torch.Generator], Tensor], shape: tuple[int, ...]
) -> None:
    assert part(noise(*shape), seeded(0)).shape == shape


@parts
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8), "works on uint8 images, not on torch.float32"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"\(n, c, h, w\) or \(n, t, c, h, w\), not of"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta"), "generator is on cpu"),
    ],
)
def test_what_it_cannot_work_on_is_refused(
    part: Callable[[Tensor, torch.Generator], Tensor], images: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        part(images, seeded(0))


def test_impossible_parameters_are_refused() -> None:
    images = noise(2, 3, 8, 8)
    with pytest.raises(ValueError, match="padding must not be negative, is -1"):
        random_crop(images, -1, seeded(0))
    with pytest.raises(ValueError, match="size must not be negative, is -1"):
        cutout(images, -1, seeded(0))
    with pytest.raises(ValueError, match="2 fill values for 3 channels"):
        cutout(images, 2, seeded(0), (1, 2))
    with pytest.raises(ValueError, match=r"fill must be values 0..255, is \(256,\)"):
        cutout(images, 2, seeded(0), (256,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_padding": -1}, "crop_padding must not be negative, is -1"),
        ({"cutout": -4}, "cutout must not be negative, is -4"),
        ({"fill": ()}, r"fill must be values 0..255, is \(\)"),
        ({"fill": (0, -1, 0)}, "fill must be values 0..255"),
    ],
)
def test_an_impossible_augmentation_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)


def test_an_augmentation_is_its_parts_in_order() -> None:
    images = noise(60, 3, 16, 16)
    all_of_it = Augmentation(crop_padding=2, cutout=6, autoaugment=True, fill=FILL)
    generator = seeded(7)
    expected = random_flip(random_crop(images, 2, generator), generator)
    expected = cutout(autoaugment_cifar10(expected, generator), 6, generator, FILL)
    assert torch.equal(all_of_it(images, seeded(7)), expected)


def test_event_frames_are_augmented_but_not_by_autoaugment() -> None:
    frames = noise(6, 4, 2, 16, 16)
    events = Augmentation(crop_padding=2, cutout=4)
    assert events(frames, seeded(0)).shape == frames.shape
    with pytest.raises(ValueError, match=r"AutoAugment needs images \(n, c, h, w\)"):
        dataclasses.replace(events, autoaugment=True)(frames, seeded(0))


@pytest.mark.parametrize("values", [{}, {"crop_padding": 0, "flip": False}])
def test_an_augmentation_refuses_wrong_images_whatever_it_does(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Augmentation works on uint8 images"):
        Augmentation(**values)(torch.zeros(2, 3, 8, 8), seeded(0))
