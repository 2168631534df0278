"""One epoch of training, and what is measured after it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD

from imcsim.training.augment import Augmentation
from imcsim.training.data import OnDevice
from imcsim.training.losses import LOSSES
from imcsim.training.recipe import Recipe, Stage

Advance = Callable[[int], None]


@dataclass(frozen=True)
class EpochResult:
    """Means over the images of one epoch, before each update."""

    loss: float
    accuracy: float
    """At the last timestep."""


def optimizer_of(model: nn.Module, stage: Stage) -> SGD:
    return SGD(
        model.parameters(),
        lr=stage.learning_rate,
        momentum=stage.momentum,
        weight_decay=stage.weight_decay,
    )


def learning_rate_at(stage: Stage, epoch: float) -> float:
    """Linear warm-up, then half a cosine to 0 at the end of the stage.

    Parameters
    ----------
    epoch
        Epochs done, with a fraction, 0 ≤ epoch ≤ stage.epochs.
    """
    if epoch < stage.warmup_epochs:
        return stage.learning_rate * (epoch + 1e-3) / (stage.warmup_epochs + 1e-3)
    span = max(stage.epochs - stage.warmup_epochs, 1e-9)
    done = min((epoch - stage.warmup_epochs) / span, 1.0)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def epoch_seed(recipe: Recipe, stage: int, epoch: int) -> int:
    """Every epoch has its own stream, so that a resumed training draws what it would have drawn."""
    text = f"{recipe.seed} {stage} {epoch}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def autocast(recipe: Recipe, stage: Stage, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 convolutions where the recipe says so; integers of a quantised stage need more
    digits.
    """
    if recipe.precision == "bf16" and not stage.quantized:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def train_epoch(
    network: Callable[[Tensor, int], Tensor],
    optimizer: SGD,
    data: OnDevice,
    augment: Augmentation,
    recipe: Recipe,
    position: tuple[int, int],
    advance: Advance,
) -> EpochResult:
    """One pass over the images in random order; a last batch that is not full is left out.

    Parameters
    ----------
    network
        Images uint8 (n, ...) and T to class scores (n, t, k).
    position
        Stage and epoch, counted from 0.
    """
    stage = recipe.stages[position[0]]
    device = data.images.device
    generator = torch.Generator(device).manual_seed(epoch_seed(recipe, *position))
    order = torch.randperm(len(data), generator=generator, device=device)
    batch = min(stage.batch, len(data))
    batches = len(data) // batch
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), device=device, dtype=torch.long)
    for step in range(batches):
        chosen = order[step * batch : (step + 1) * batch]
        labels = data.labels[chosen]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(stage, position[1] + step / batches)
        with autocast(recipe, stage, device):
            scores = network(augment(data.images[chosen], generator), stage.timesteps)
        loss = LOSSES[stage.loss](scores, labels, stage.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        # Sums stay on the device: reading them would make it wait for every batch.
        loss_sum += loss.detach()
        right += (scores.detach().sum(1).argmax(1) == labels).sum()
        advance(batch)
    images = batches * batch
    return EpochResult(float(loss_sum) / batches, float(right) / images)


@torch.no_grad()
def scores_of(
    network: Callable[[Tensor, int], Tensor], images: Tensor, timesteps: int, batch: int
) -> Tensor:
    """Class scores of each timestep alone, (n, t, k), on the device."""
    return torch.cat([network(part, timesteps) for part in torch.split(images, batch)])


def running_accuracies(scores: Tensor, labels: Tensor) -> list[float]:
    """Share of right predictions from the sum of the scores up to each timestep."""
    right = scores.cumsum(1).argmax(2) == labels[:, None]
    return [round(float(share), 6) for share in right.double().mean(0)]
