"""What a chip's own calibration images set anew before it is used: `correction` of its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imcsim.errors import UsageError
from imcsim.functional.correction import ChannelCorrection, correct_channels, observe_channels
from imcsim.functional.exits import THRESHOLD_POLICIES, ExitPolicy, calibrate_threshold
from imcsim.functional.forward import ChipModel
from imcsim.functional.images import batch_size, run_images
from imcsim.functional.readout import SigmaETables, evaluate
from imcsim.network.workload import Workload
from imcsim.simulator.options import ResolvedOptions

Stage = Callable[[str, int], None]
"""Told the name of what begins, and its number of images."""


@dataclass(frozen=True)
class CorrectionReport:
    """What was corrected on a chip, and how."""

    images: int
    """Calibration images used."""
    channels: ChannelCorrection | None
    theta: float | None
    """Threshold of the exit policy that was found; None if none was looked for."""

    def summary(self) -> dict[str, Any]:
        """For ``summary.json``."""
        channels = None if self.channels is None else dict(vars(self.channels))
        return {"images": self.images, "channels": channels, "theta": self.theta}


def correct_chip(
    model: ChipModel,
    workload: Workload,
    asked: ResolvedOptions,
    tables: SigmaETables,
    stage: Stage,
) -> tuple[ChipModel, ExitPolicy, CorrectionReport | None]:
    """Correct a programmed chip as its file says: channels first, then the threshold.

    Nothing is charged for it: it happens once, before the chip is used.

    Returns
    -------
    ChipModel, ExitPolicy
        To run with; as they were if nothing is to be corrected.
    CorrectionReport or None
        None if the chip's file asks for no correction.

    Raises
    ------
    UsageError
        If the workload has no calibration images for a threshold.
    """
    wanted = model.mapping.chip.correction
    if not (wanted.channels or wanted.theta):
        return model, asked.policy, None
    images = workload.calibration_images[: wanted.images]
    channels, theta = None, None
    if wanted.channels:
        stage("correcting channels", 0)
        moments = observe_channels(model, images, workload.network.timesteps, asked.jobs)
        model, channels = correct_channels(model, moments)
    policy = asked.policy
    if wanted.theta and not asked.theta_given and policy.name in THRESHOLD_POLICIES:
        stage("calibrating the exit threshold", 0)
        theta = _theta(model, workload, asked, tables)
        policy = ExitPolicy.of(policy.name, theta)
    return model, policy, CorrectionReport(len(images), channels, theta)


def _theta(
    model: ChipModel, workload: Workload, asked: ResolvedOptions, tables: SigmaETables
) -> float:
    """Fewest timesteps at the accuracy that this very chip has with all of them."""
    wanted, network = model.mapping.chip.correction, workload.network
    images = workload.calibration_images[: wanted.images]
    labels = workload.calibration_labels[: wanted.images]
    if not len(images):
        raise UsageError(f"correction.theta: {workload.name} has no calibration images")
    batch = batch_size(network, len(images), asked.jobs, asked.memory_bytes)
    logits = run_images(model, images, asked.timesteps, asked.jobs, batch).logits
    scores = evaluate(logits.astype(np.int64), network.logit_scale, asked.accumulate, tables)
    right = scores.predictions[:, -1] == labels
    return calibrate_threshold(asked.policy.name, scores, labels, float(right.mean()))
