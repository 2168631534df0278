"""AutoAugment on batches, against Pillow image by image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from imcsim.training import autoaugment
from imcsim.training.autoaugment import (
    CIFAR10_POLICY,
    OPERATIONS,
    OperationName,
    autoaugment_cifar10,
    choose,
)

SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 14), (3, 40, 23), (1, 3, 3), (3, 2, 5), (3, 1, 1)]
ENHANCERS = {
    "Contrast": ImageEnhance.Contrast,
    "Color": ImageEnhance.Color,
    "Brightness": ImageEnhance.Brightness,
    "Sharpness": ImageEnhance.Sharpness,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, shape: tuple[int, int, int], seed: int = 1) -> Tensor:
    """Noise over all of 0..255, over part of it, over two values, of one value; and ramps."""
    random = np.random.default_rng(seed)
    low = random.integers(0, 250, (n, shape[0], 1, 1))
    span = random.choice([1, 2, 6, 100, 256], (n, shape[0], 1, 1))
    skew = random.choice([1, 3], (n, 1, 1, 1))
    noise = low + span * random.random((n, *shape)) ** skew
    slope = random.choice([0, 0, 0, 1, 2], (n, 1, 1, 1))
    ramp = slope * np.add.outer(np.arange(shape[1]), 3 * np.arange(shape[2]))
    return torch.from_numpy(np.clip(noise + ramp, 0, 255)).to(torch.uint8)


def by_pillow(image: Tensor, name: OperationName, magnitude: float) -> Tensor:
    """One operation on one image (c, h, w)."""
    planes = image.numpy()
    picture = Image.fromarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0).copy())
    done = np.asarray(_pillow_operation(picture, name, magnitude))
    return torch.from_numpy(done.copy()).reshape(*image.shape[1:], -1).permute(2, 0, 1)


def _pillow_operation(picture: Image.Image, name: OperationName, magnitude: float) -> Image.Image:
    w, h = picture.size
    grey = 128 if picture.mode == "L" else (128, 128, 128)
    affine = {
        "ShearX": (1, magnitude, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, magnitude, 1, 0),
        "TranslateX": (1, 0, magnitude * w, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, magnitude * h),
    }
    if name in affine:
        nearest = Image.Resampling.NEAREST
        return picture.transform(
            (w, h), Image.Transform.AFFINE, affine[name], nearest, fillcolor=grey
        )
    if name in ENHANCERS:
        return ENHANCERS[name](picture).enhance(magnitude)
    match name:
        case "Rotate":
            return picture.rotate(magnitude, fillcolor=grey)
        case "AutoContrast":
            return ImageOps.autocontrast(picture)
        case "Invert":
            return ImageOps.invert(picture)
        case "Equalize":
            return ImageOps.equalize(picture)
        case "Solarize":
            return ImageOps.solarize(picture, magnitude)  # type: ignore[arg-type]
        case _:
            return ImageOps.posterize(picture, round(magnitude))


def magnitudes(name: OperationName) -> list[float]:
    """All that a policy could ask for: ten levels, both signs where there are signs."""
    ranges = {
        **dict.fromkeys(["ShearX", "ShearY"], np.linspace(-0.3, 0.3, 19)),
        **dict.fromkeys(["TranslateX", "TranslateY"], np.linspace(-150 / 331, 150 / 331, 19)),
        "Rotate": np.linspace(-30, 30, 19),
        "Solarize": np.linspace(256, 0, 10),
        "Posterize": np.linspace(8, 4, 10),
        **dict.fromkeys(ENHANCERS, np.linspace(0.1, 1.9, 19)),
    }
    return list(ranges.get(name, [0.0]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_bit_for_bit_what_pillow_does(
    name: OperationName, shape: tuple[int, int, int]
) -> None:
    amounts = np.repeat(magnitudes(name), 6 if len(magnitudes(name)) > 1 else 60)
    images = pictures(len(amounts), shape)
    before = images.clone()
    done = OPERATIONS[name].apply(images, torch.from_numpy(amounts))
    expected = [by_pillow(image, name, m) for image, m in zip(images, amounts, strict=True)]
    assert done.dtype == torch.uint8
    assert torch.equal(done, torch.stack(expected))
    assert torch.equal(images, before)


def test_the_whole_policy_is_that_of_pillow_applied_to_each_image() -> None:
    images = pictures(600, (3, 32, 32))
    done = autoaugment_cifar10(images, seeded(3))
    choice = choose(len(images), seeded(3))
    names = [*OPERATIONS, None]
    for number, image in enumerate(images):
        for step in range(2):
            name = names[int(choice.operation[number, step])]
            if name is not None:
                image = by_pillow(image, name, float(choice.magnitude[number, step]))
        assert torch.equal(done[number], image)


def test_each_level_has_the_magnitude_of_the_papers_ranges() -> None:
    choice = choose(20_000, seeded(4))
    for number, name in enumerate(OPERATIONS):
        levels = {level for steps in CIFAR10_POLICY for n, p, level in steps if n == name and p > 0}
        drawn = choice.magnitude[choice.operation == number].unique().tolist()
        ten = magnitudes(name)
        signed = len(ten) == 19
        allowed = (
            {ten[9 + sign * level] for level in levels for sign in (-1, 1)}
            if signed
            else {ten[level % len(ten)] for level in levels}
        )
        assert drawn == pytest.approx(sorted(allowed))


def test_the_policy_has_the_totals_of_table_7_of_the_paper() -> None:
    """Per operation: uses, sum of probabilities in tenths, sum of levels."""
    totals: dict[str, tuple[int, int, int]] = {}
    for name, probability, level in itertools.chain.from_iterable(CIFAR10_POLICY):
        uses, tenths, levels = totals.get(name, (0, 0, 0))
        totals[name] = uses + 1, tenths + round(10 * probability), levels + level
    assert totals == {
        "Invert": (3, 2, 13),
        "Contrast": (2, 8, 13),
        "Rotate": (1, 7, 2),
        "TranslateX": (2, 8, 17),
        "Sharpness": (5, 28, 24),
        "ShearY": (2, 7, 15),
        "TranslateY": (5, 34, 39),
        "AutoContrast": (7, 50, 26),
        "Equalize": (9, 47, 41),
        "Posterize": (1, 3, 7),
        "Color": (5, 29, 27),
        "Brightness": (4, 23, 25),
        "Solarize": (4, 19, 18),
    }


def test_every_sub_policy_is_equally_likely() -> None:
    """χ² with 24 degrees of freedom is below 51.2 in 99.9 % of all cases."""
    n = 50_000
    counts = choose(n, seeded(5)).sub_policy.bincount(minlength=25)
    assert len(counts) == 25
    chi_squared = ((counts - n / 25) ** 2 / (n / 25)).sum()
    assert chi_squared < 51.2


def test_a_step_is_taken_with_its_probability() -> None:
    """Each of the 50 shares within 4 standard deviations, which 99.7 % of all seeds pass."""
    choice = choose(100_000, seeded(6))
    for number, steps in enumerate(CIFAR10_POLICY):
        mine = choice.operation[choice.sub_policy == number]
        for step, (name, probability, _) in enumerate(steps):
            taken = mine[:, step] < len(OPERATIONS)
            assert set(mine[taken, step].tolist()) <= {list(OPERATIONS).index(name)}
            deviation = (probability * (1 - probability) / len(mine)) ** 0.5
            assert abs(taken.double().mean() - probability) <= 4 * deviation


def test_both_signs_are_equally_likely() -> None:
    """Within 4 standard deviations: 99.99 % of all seeds."""
    choice = choose(100_000, seeded(7))
    shifts = choice.magnitude[choice.operation == list(OPERATIONS).index("TranslateY")]
    assert abs((shifts > 0).double().mean() - 0.5) < 4 * 0.5 / len(shifts) ** 0.5


def test_images_that_no_operation_chose_are_untouched() -> None:
    images = pictures(500, (3, 8, 8))
    before = images.clone()
    done = autoaugment_cifar10(images, seeded(8))
    spared = (choose(500, seeded(8)).operation == len(OPERATIONS)).all(1)
    assert 10 < spared.sum() < 250
    assert torch.equal(done[spared], images[spared])
    assert not torch.equal(done[~spared], images[~spared])
    assert torch.equal(images, before)


def test_the_seed_alone_decides() -> None:
    images = pictures(100, (3, 8, 8))
    first = autoaugment_cifar10(images, seeded(9))
    assert torch.equal(first, autoaugment_cifar10(images, seeded(9)))
    assert not torch.equal(first, autoaugment_cifar10(images, seeded(10)))


def test_what_is_drawn_does_not_depend_on_the_images() -> None:
    one, other = seeded(11), seeded(11)
    autoaugment_cifar10(pictures(20, (3, 8, 8)), one)
    autoaugment_cifar10(pictures(20, (1, 5, 4), seed=2), other)
    assert torch.equal(one.get_state(), other.get_state())


def test_an_empty_batch_stays_empty() -> None:
    assert autoaugment_cifar10(pictures(0, (3, 8, 8)), seeded(0)).shape == (0, 3, 8, 8)


def test_strided_images_are_images_too() -> None:
    images = pictures(50, (3, 8, 9)).contiguous(memory_format=torch.channels_last)
    plain = images.clone(memory_format=torch.contiguous_format)
    found = autoaugment_cifar10(images, seeded(1))
    assert torch.equal(found, autoaugment_cifar10(plain, seeded(1)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8), r"not of shape \(2, 4, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"needs images \(n, c, h, w\)"),
        (torch.zeros(2, 2, 8, 8, dtype=torch.uint8), "grey or RGB images, not for 2 channels"),
        (torch.zeros(2, 3, 8, 8), "uint8 images, not on torch.float32"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta"), "generator is on cpu"),
    ],
)
def test_what_it_cannot_work_on_is_refused(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        autoaugment_cifar10(images, seeded(0))


def test_only_the_group_sizes_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each value that Python looks at stops the host until the device is done."""
    looked: list[str] = []
    plain = Tensor.tolist

    def counting(tensor: Tensor) -> list[int]:
        looked.append("tolist")
        return plain(tensor)

    for name in ("item", "nonzero", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(Tensor, name, lambda *_, name=name: pytest.fail(name))
    monkeypatch.setattr(Tensor, "tolist", counting)
    autoaugment.autoaugment_cifar10(pictures(200, (3, 8, 8)), seeded(1))
    assert looked == ["tolist"]
