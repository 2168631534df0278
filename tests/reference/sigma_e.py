"""Float twin of the σ-E module: softmax, entropy and exits by the paper's formulas, in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def softmax(logits: FloatArray) -> FloatArray:
    """Eq. (6): softmax over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def normalised_entropy(logits: FloatArray) -> FloatArray:
    """Eq. (7): entropy of the softmax over the last axis, divided by ln K."""
    probability = softmax(logits)
    logarithm = np.log(np.where(probability > 0, probability, 1.0))
    return -(probability * logarithm).sum(axis=-1) / np.log(logits.shape[-1])


def accumulated(scores: npt.NDArray[np.integer], scale: float, accumulate: str) -> FloatArray:
    """Real logits after each timestep, (n, t, k), from the scores of each timestep alone."""
    total = np.cumsum(scores.astype(np.float64) * scale, axis=1)
    if accumulate == "mean":
        total /= np.arange(1, scores.shape[1] + 1)[None, :, None]
    return total


def first_exit(accepted: list[bool]) -> int:
    """Eq. (8): the first timestep that is accepted, else the last."""
    for t, accept in enumerate(accepted, start=1):
        if accept:
            return t
    return len(accepted)
