"""Small networks in training whose every layer spikes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from imcsim.network.build import LayerSpec
from imcsim.training.architectures import resnet19, vgg
from imcsim.training.network import Encoding, SpikingNetwork
from imcsim.training.neuron import LifDynamics
from tests.small_networks import conv, linear, pool

Kind = Literal["avg", "max", "blocks", "resnet", "events"]
KINDS: tuple[Kind, ...] = ("avg", "max", "blocks", "resnet", "events")
Reset = Literal["hard", "soft"]

TIMESTEPS = 3
CLASSES = 4


def specs_of(kind: Kind) -> tuple[LayerSpec, ...]:
    if kind == "resnet":
        return resnet19(8, CLASSES, width=0.04)
    if kind == "blocks":
        return (
            conv("stem", -1, 6),
            conv("block1a", 0, 6),
            conv("block1b", 1, 6, residual=0),
            conv("block2a", 2, 8, stride=2),
            conv("shortcut2", 2, 8, kernel=1, padding=0, stride=2, spikes=False),
            conv("block2b", 3, 8, residual=4),
            pool("pool", 5, "avg_pool", 4),
            linear("fc", 6, CLASSES),
        )
    return vgg(8, CLASSES, (6, "pool", 8, 7), pool="max" if kind == "max" else "avg")


def encoding_of(kind: Kind) -> Encoding:
    if kind == "events":
        return Encoding((2, 8, 8), "events")
    return Encoding((3, 8, 8), "direct", (0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


def images_of(kind: Kind, n: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """uint8 (n, 3, 8, 8), or frames (n, t, 2, 8, 8) of 0..3 events."""
    rng = np.random.default_rng(seed)
    if kind == "events":
        return rng.integers(0, 4, (n, TIMESTEPS, 2, 8, 8)).astype(np.uint8)
    return rng.integers(0, 256, (n, 3, 8, 8)).astype(np.uint8)


def active_network(kind: Kind, reset: Reset = "hard", seed: int = 0) -> SpikingNetwork:
    """Random weights, and batch norms that have seen their own inputs: currents are about N(β, γ²),
    so that neurons of every layer fire, and not always.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpikingNetwork(
            specs_of(kind), encoding_of(kind), TIMESTEPS, LifDynamics(3, 2, reset)
        )
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
                nn.init.uniform_(module.weight, 0.7, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.6)
    with torch.no_grad():
        model.train()(torch.from_numpy(images_of(kind, 32, seed + 1)))
    return model.eval()
