"""A training in steps of one epoch, from a recipe to a workload."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import SGD

from imcsim.errors import ImcsimError, InputFileError, UsageError
from imcsim.network.layers import Network
from imcsim.network.quantize import Arithmetic, leak_fraction
from imcsim.network.workload import Workload
from imcsim.simulator.run import Progress
from imcsim.training import checkpoint
from imcsim.training.architectures import VGG16_CHANNELS, resnet19, vgg
from imcsim.training.augment import Augmentation
from imcsim.training.checkpoint import TrainingState
from imcsim.training.data import OnDevice, TrainingData
from imcsim.training.export import export_workload
from imcsim.training.integer import QuantizedNetwork, WeightNoise, integer_logits
from imcsim.training.load_recipe import recipe_hash
from imcsim.training.network import Encoding, SpikingNetwork
from imcsim.training.neuron import LifDynamics
from imcsim.training.recipe import Recipe, Stage
from imcsim.training.stages import (
    EpochResult,
    autocast,
    epoch_seed,
    optimizer_of,
    running_accuracies,
    scores_of,
    train_epoch,
)

ARITHMETIC = Arithmetic()
"""Widths of the exported network's membranes."""


def build_model(recipe: Recipe, data: TrainingData) -> SpikingNetwork:
    """The untrained network; its weights depend on the recipe's seed alone.

    Raises
    ------
    UsageError
        If the images do not suit the architecture.
    """
    plan = recipe.network
    _, height, side = data.encoding.image_shape
    if height != side:
        raise UsageError(f"network: the images are {height}×{side}, not square")
    try:
        if plan.architecture == "vgg":
            channels = plan.channels or VGG16_CHANNELS
            specs = vgg(side, data.classes, channels, plan.width, plan.pool, plan.head)
        else:
            specs = resnet19(side, data.classes, plan.width)
    except ValueError as exc:
        raise UsageError(f"network: {exc}") from exc
    dynamics = LifDynamics(
        *leak_fraction(plan.tau), plan.reset, plan.surrogate, fused=recipe.fused_neurons
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return SpikingNetwork(specs, data.encoding, plan.timesteps, dynamics)


def _check_colours(recipe: Recipe, encoding: Encoding) -> None:
    is_coloured = encoding.kind == "direct" and encoding.image_shape[0] == 3
    if recipe.augmentation.autoaugment and not is_coloured:
        raise UsageError("augmentation.autoaugment: the policy is for colour images")


class TrainingSession:
    """Trains in steps of one epoch, so that it can stop after any of them and go on later.

    Parameters
    ----------
    data
        `read_training_data`.
    device
        Where everything is computed.

    Raises
    ------
    UsageError
        If the images do not suit the architecture or the augmentation.
    """

    def __init__(self, recipe: Recipe, data: TrainingData, device: torch.device):
        _check_colours(recipe, data.encoding)
        self.recipe = recipe
        self.data = data
        self.device = device
        self.model = build_model(recipe, data).to(device)
        # The layout in which convolutions are fastest; four-dimensional weights alone have one.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.state = TrainingState(recipe_hash(recipe), data.sha256)
        self._train = OnDevice.of(data.train, device)
        self._held_out = OnDevice.of(data.held_out, device)

    def is_finished(self) -> bool:
        return self.state.stage == len(self.recipe.stages)

    def start_from(self, path: Path) -> None:
        """Take the weights of another training's checkpoint.

        Raises
        ------
        InputFileError
            If they are not of this network.
        """
        found = checkpoint.load(path, self.device)
        self._take(path, found.best_model or found.model)
        self.state.started_from = checkpoint.file_sha256(path)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint of the same recipe and data stands.

        Raises
        ------
        InputFileError
            If there is none, or it is another training's.
        """
        found = checkpoint.load(path, self.device)
        checkpoint.check_same(path, found, self.state.recipe, self.state.data)
        self._take(path, found.model)
        self.state = found

    def _take(self, path: Path, weights: dict[str, Any]) -> None:
        try:
            self.model.load_state_dict(weights)
        except (RuntimeError, TypeError) as exc:
            raise InputFileError(f"{path}: the weights are of another network") from exc

    def save(self, path: Path) -> None:
        self.state.model = self.model.state_dict()
        checkpoint.save(path, self.state)

    def run_epoch(self, progress: Progress) -> dict[str, Any]:
        """Train one epoch, measure the held-out images, and return the log's new row.

        Raises
        ------
        ImcsimError
            If the loss is no number any more, or fused neurons cannot be compiled.
        """
        state, started = self.state, time.perf_counter()
        stage = self.recipe.stages[state.stage]
        network = self._network(stage)
        optimizer = optimizer_of(self.model, stage)
        if state.optimizer is not None:
            optimizer.load_state_dict(state.optimizer)
        progress.stage(self._where(stage), len(self._train))
        network.train()
        result = self._train_epoch(network, optimizer, progress)
        if not math.isfinite(result.loss):
            raise ImcsimError(
                f"stage {state.stage + 1}, epoch {state.epoch + 1}: the loss is {result.loss} "
                "(try a lower learning_rate, or a warm-up)"
            )
        network.eval()
        held_out = self._held_out_accuracies(network, stage)
        row = {
            "stage": state.stage + 1,
            "epoch": state.epoch + 1,
            "loss": round(result.loss, 6),
            "train_accuracy": round(result.accuracy, 6),
            **{f"held_out_accuracy_t{t}": a for t, a in enumerate(held_out, 1)},
            "seconds": round(time.perf_counter() - started, 2),
        }
        self._note(row, held_out, stage, optimizer)
        return row

    def _train_epoch(self, network: nn.Module, optimizer: SGD, progress: Progress) -> EpochResult:
        position = self.state.stage, self.state.epoch
        try:
            return train_epoch(
                network,
                optimizer,
                self._train,
                self._augmentation(),
                self.recipe,
                position,
                progress.advance,
            )
        except RuntimeError as exc:
            # Only torch.compile knows whether it finds one; its exceptions are private classes.
            if "No working C++ compiler" not in str(exc):
                raise
            raise ImcsimError(
                "fused_neurons: torch.compile finds no C++ compiler (install g++, or "
                "--set fused_neurons=false)"
            ) from exc

    def _where(self, stage: Stage) -> str:
        state = self.state
        return (
            f"stage {state.stage + 1} of {len(self.recipe.stages)}, "
            f"epoch {state.epoch + 1} of {stage.epochs}"
        )

    def _network(self, stage: Stage) -> nn.Module:
        if not stage.quantized:
            return self.model
        noise = None
        if stage.weight_noise:
            seed = epoch_seed(self.recipe, self.state.stage, self.state.epoch)
            generator = torch.Generator(self.device).manual_seed(seed + 1)
            noise = WeightNoise(stage.weight_noise, generator)
        return QuantizedNetwork(self.model, ARITHMETIC, noise).to(self.device)

    def _augmentation(self) -> Augmentation:
        said, encoding = self.recipe.augmentation, self.data.encoding
        return Augmentation(
            crop_padding=said.crop_padding,
            flip=said.flip,
            cutout=said.cutout,
            autoaugment=said.autoaugment,
            fill=tuple(round(255 * m) for m in encoding.mean) or (0,) * encoding.image_shape[0],
        )

    def _held_out_accuracies(self, network: nn.Module, stage: Stage) -> list[float]:
        """After each timestep up to the workload's T."""
        with autocast(self.recipe, stage, self.device):
            scores = scores_of(
                network, self._held_out.images, self.recipe.network.timesteps, stage.batch
            )
        return running_accuracies(scores, self._held_out.labels)

    def _note(
        self, row: dict[str, Any], held_out: list[float], stage: Stage, optimizer: SGD
    ) -> None:
        """Move on to the next epoch, or to the next stage; remember the last stage's best epoch."""
        state = self.state
        state.log.append(row)
        state.epoch += 1
        state.optimizer = optimizer.state_dict()
        if state.stage == len(self.recipe.stages) - 1:
            score = held_out[-1] if stage.loss == "eq9" else sum(held_out) / len(held_out)
            if score >= state.best_score:
                state.best_score, state.best_epoch = score, state.epoch
                state.best_model = {
                    key: value.clone() for key, value in self.model.state_dict().items()
                }
        if state.epoch == stage.epochs:
            state.stage, state.epoch, state.optimizer = state.stage + 1, 0, None

    def export(self, provenance: dict[str, Any], baseline: Workload | None = None) -> Workload:
        """The workload of the best epoch of the last stage."""
        self._take(Path("best epoch"), self.state.best_model)
        self.model.eval()
        begun = self.state.started_from

        def float_logits(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            some = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            steps = self.recipe.network.timesteps
            return scores_of(self.model, some, steps, 250).cpu().numpy()

        def logits(network: Network, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
            return integer_logits(network, np.ascontiguousarray(images), self.device)

        return export_workload(
            self.model.to_float(self.recipe.name),
            self.data.held_out,
            self.data.test,
            provenance={
                "recipe": self.recipe.model_dump(mode="json"),
                "data_sha256": self.data.sha256,
                "best_epoch": self.state.best_epoch,
                # Not how long it took: equal trainings give equal files.
                "log_end": {k: v for k, v in self.state.log[-1].items() if k != "seconds"},
                **({"start_from_sha256": begun} if begun else {}),
                **provenance,
            },
            float_logits=float_logits,
            integer_logits=logits,
            per_class_shipped=max(1000 // self.data.classes, 1),
            arithmetic=ARITHMETIC,
            baseline=baseline,
        )
