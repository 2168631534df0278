"""Training losses over timesteps, of class scores (n, t, k) and labels (n,).

`eq9` and `cumulative` are Eqs. (9) and (10) of Li et al., DAC 2023; `tet` is what the authors'
published code computes (Deng et al., ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

LossName = Literal["eq9", "cumulative", "tet"]

TET_LAMBDA = 1e-3
"""Weight of TET's regularisation term in the authors' code."""
TET_MEAN = 1.0
"""Value that TET pulls all scores to: V_th."""


def eq9(scores: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of the mean score over all timesteps: a static network."""
    return cross_entropy(scores.mean(1), labels, label_smoothing=smoothing)


def cumulative(scores: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Eq. (10): the mean over t of the cross entropy of ``f_t``, the mean score up to t."""
    steps = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=scores.dtype)
    running = scores.cumsum(1) / steps[:, None]
    return cross_entropy(
        running.flatten(0, 1), labels.repeat_interleave(len(steps)), label_smoothing=smoothing
    )


def tet(scores: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Each timestep alone, ``(1 − λ)·mean CE(o_t) + λ·MSE(o, 1)``."""
    each = cross_entropy(
        scores.flatten(0, 1), labels.repeat_interleave(scores.shape[1]), label_smoothing=smoothing
    )
    return (1 - TET_LAMBDA) * each + TET_LAMBDA * mse_loss(
        scores, torch.full_like(scores, TET_MEAN)
    )


LOSSES: dict[LossName, Callable[[Tensor, Tensor, float], Tensor]] = {
    "eq9": eq9,
    "cumulative": cumulative,
    "tet": tet,
}
