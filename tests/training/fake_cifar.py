"""A small data set in the form of CIFAR-10's binary batches, and recipes that learn it fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imcsim.training.recipe import Recipe

TRAIN, TEST = 200, 50


def write_fake_cifar(folder: Path) -> Path:
    """Ten classes, each one noisy 4×4 pattern of coloured squares; 200 and 50 images."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2, (10, 3, 4, 4)) * 120 + 40
    for names, n in (
        ([f"data_batch_{k}.bin" for k in range(1, 6)], TRAIN),
        (["test_batch.bin"], TEST),
    ):
        labels = rng.permutation(np.arange(n) % 10)
        squares = patterns[labels].repeat(8, axis=2).repeat(8, axis=3)
        pixels = np.clip(squares + rng.normal(0, 30, squares.shape), 0, 255).astype(np.uint8)
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(n, -1)], axis=1)
        for name, part in zip(names, np.split(records, len(names)), strict=True):
            (folder / name).write_bytes(part.tobytes())
    return folder


STAGE = {"epochs": 3, "timesteps": 2, "learning_rate": 0.3, "batch": 16}
INT8_STAGE = {**STAGE, "epochs": 1, "learning_rate": 0.01, "quantized": True}

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 1,
    "data": {"name": "cifar10", "held_out": 40},
    "network": {
        "architecture": "vgg",
        "timesteps": 2,
        "channels": [8, "pool", "pool", 16, "pool"],
    },
    "augmentation": {"crop_padding": 1, "flip": False},
    "stages": [STAGE, INT8_STAGE],
}


def tiny_recipe(**changes: Any) -> Recipe:
    """`TINY`, in which sections and values at the top are replaced."""
    said = TINY | changes
    network = said["network"]
    if "channels" in network:
        network = network | {"channels": tuple(network["channels"])}
    return Recipe.model_validate(said | {"network": network, "stages": tuple(said["stages"])})
