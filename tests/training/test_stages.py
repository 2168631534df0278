"""One epoch: the learning rate, the order of the images, and what is measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from imcsim.training.augment import Augmentation
from imcsim.training.data import OnDevice
from imcsim.training.recipe import Stage
from imcsim.training.stages import (
    EpochResult,
    autocast,
    epoch_seed,
    learning_rate_at,
    optimizer_of,
    running_accuracies,
    scores_of,
    train_epoch,
)
from tests.training.fake_cifar import STAGE, tiny_recipe

CPU = torch.device("cpu")
UNCHANGED = Augmentation(crop_padding=0, flip=False)


def stage(**changes: Any) -> Stage:
    return Stage.model_validate(STAGE | {"learning_rate": 0.1} | changes)


@given(st.floats(0, 1))
def test_the_learning_rate_is_half_a_cosine(part: float) -> None:
    expected = 0.1 * math.cos(math.pi / 2 * part) ** 2
    assert learning_rate_at(stage(epochs=8), 8 * part) == pytest.approx(expected, abs=1e-12)


@given(st.floats(0, 1, exclude_max=True))
def test_a_warm_up_rises_in_a_line(part: float) -> None:
    found = learning_rate_at(stage(epochs=8, warmup_epochs=2.0), 2 * part)
    assert found == pytest.approx(0.1 * part, abs=1e-4)
    assert found > 0


def test_the_cosine_follows_the_warm_up() -> None:
    warm = stage(epochs=8, warmup_epochs=2.0)
    assert learning_rate_at(warm, 2.0) == pytest.approx(0.1)
    assert learning_rate_at(warm, 5.0) == pytest.approx(0.05)
    assert learning_rate_at(warm, 8.0) == pytest.approx(0)


def test_a_stage_may_be_all_warm_up() -> None:
    assert learning_rate_at(stage(epochs=2, warmup_epochs=2.0), 1.999) == pytest.approx(
        0.1, rel=0.01
    )


def test_every_epoch_of_every_stage_has_its_own_seed() -> None:
    recipes = [tiny_recipe(seed=seed) for seed in (0, 1, 11)]
    seeds = {epoch_seed(r, s, e) for r in recipes for s in range(12) for e in range(12)}
    assert len(seeds) == 3 * 144
    assert all(0 <= seed < 1 << 63 for seed in seeds)


class Recorder(nn.Module):
    """Scores that depend on the images alone; remembers what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.batches: list[Tensor] = []

    def forward(self, images: Tensor, timesteps: int) -> Tensor:
        self.batches.append(images[:, 0, 0, 0].clone())
        known = nn.functional.one_hot(images[:, 0, 0, 0].long() % 3, 3)
        return (known + self.weight).unsqueeze(1).expand(-1, timesteps, -1)


def numbered(n: int) -> OnDevice:
    """Image i is i everywhere; its label is i mod 3, and wrong for every fourth."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 2).contiguous()
    labels = torch.arange(n)
    return OnDevice(images, (labels + (labels % 4 == 0)) % 3)


def run(data: OnDevice, epoch: int = 0, **changes: Any) -> tuple[Recorder, EpochResult, list[int]]:
    recipe = tiny_recipe(stages=[STAGE | changes])
    network, advanced = Recorder(), []
    optimizer = optimizer_of(network, recipe.stages[0])
    result = train_epoch(network, optimizer, data, UNCHANGED, recipe, (0, epoch), advanced.append)
    return network, result, advanced


def test_an_epoch_shows_each_image_at_most_once_and_leaves_a_last_part_out() -> None:
    network, _, advanced = run(numbered(50), batch=16)
    assert [len(batch) for batch in network.batches] == advanced == [16, 16, 16]
    seen = torch.cat(network.batches).tolist()
    assert len(set(seen)) == 48
    assert seen != sorted(seen)


def test_a_batch_is_never_larger_than_the_set() -> None:
    network, _, advanced = run(numbered(10), batch=256)
    assert advanced == [10]
    assert sorted(network.batches[0].tolist()) == list(range(10))


def test_the_order_depends_on_the_epoch_alone() -> None:
    orders = [torch.cat(run(numbered(50), epoch)[0].batches).tolist() for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_loss_and_accuracy_are_means_over_the_images() -> None:
    data = numbered(48)
    _, result, _ = run(data, batch=48, learning_rate=1e-6)
    assert result.accuracy == pytest.approx(0.75)
    right, wrong = -math.log(math.e / (math.e + 2)), -math.log(1 / (math.e + 2))
    assert result.loss == pytest.approx(0.75 * right + 0.25 * wrong, abs=1e-5)


def test_the_rate_of_the_schedule_is_the_optimizer_s() -> None:
    recipe = tiny_recipe(stages=[STAGE | {"batch": 16}])
    network = Recorder()
    optimizer = optimizer_of(network, recipe.stages[0])
    rates: list[float] = []
    train_epoch(
        network,
        optimizer,
        numbered(32),
        UNCHANGED,
        recipe,
        (0, 1),
        lambda _: rates.append(optimizer.param_groups[0]["lr"]),
    )
    # Epochs 1 and 1.5 of 3.
    assert rates == pytest.approx([0.75 * 0.3, 0.5 * 0.3])


def test_the_penalty_and_the_momentum_are_the_stage_s() -> None:
    group = optimizer_of(Recorder(), stage(momentum=0.5, weight_decay=0.25)).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.5, 0.25)


def test_only_stages_of_real_numbers_are_autocast() -> None:
    recipe = tiny_recipe(precision="bf16")
    for quantized in (False, True):
        with autocast(recipe, stage(quantized=quantized), CPU):
            y = torch.ones(2, 2) @ torch.ones(2, 2)
        assert y.dtype == (torch.float32 if quantized else torch.bfloat16)
    with autocast(tiny_recipe(), stage(), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_scores_do_not_depend_on_the_batch() -> None:
    images = numbered(10).images
    network = Recorder()
    whole = scores_of(network, images, 3, 256)
    assert whole.shape == (10, 3, 3)
    assert torch.equal(scores_of(network, images, 3, 4), whole)


def test_a_prediction_comes_from_the_scores_up_to_a_timestep() -> None:
    scores = torch.tensor([[[1.0, 0], [0, 3.0]], [[1.0, 0], [0, 0.5]], [[0, 1.0], [0, 1.0]]])
    assert running_accuracies(scores, torch.tensor([1, 0, 1])) == [
        pytest.approx(2 / 3, abs=1e-6),
        1.0,
    ]
