"""Losses against their formulas in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imcsim.training.losses import LOSSES, TET_LAMBDA, LossName, cumulative, eq9, tet

Array = npt.NDArray[np.float64]
smoothings = st.sampled_from((0.0, 0.1))
timesteps = st.integers(1, 5)


def drawn(seed: int, n: int, t: int, k: int) -> tuple[Array, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (n, t, k)), rng.integers(0, k, n)


def cross_entropy(scores: Array, label: int, smoothing: float) -> float:
    """−Σ q log softmax(scores), q = (1 − ε)·onehot + ε/k."""
    log_p = scores - np.log(np.exp(scores).sum())
    q = np.full(len(scores), smoothing / len(scores))
    q[label] += 1 - smoothing
    return float(-(q * log_p).sum())


def formula(name: str, scores: Array, labels: npt.NDArray[np.int64], eps: float) -> float:
    n, steps, _ = scores.shape
    total = 0.0
    for i, label in enumerate(labels.tolist()):
        o = scores[i]
        if name == "eq9":
            total += cross_entropy(o.mean(0), label, eps)
        elif name == "cumulative":
            running = [o[: t + 1].sum(0) / (t + 1) for t in range(steps)]
            total += sum(cross_entropy(f, label, eps) for f in running) / steps
        else:
            each = sum(cross_entropy(o[t], label, eps) for t in range(steps)) / steps
            total += 0.999 * each + 0.001 * float(((o - 1) ** 2).mean())
    return total / n


@given(st.integers(0, 2**32 - 1), timesteps, smoothings, st.sampled_from(sorted(LOSSES)))
def test_a_loss_is_its_formula(seed: int, t: int, smoothing: float, name: LossName) -> None:
    scores, labels = drawn(seed, 3, t, 4)
    found = LOSSES[name](torch.from_numpy(scores), torch.from_numpy(labels), smoothing)
    assert float(found) == pytest.approx(formula(name, scores, labels, smoothing), rel=1e-9)


def test_one_timestep_leaves_nothing_to_average() -> None:
    pair: Any = [torch.from_numpy(array) for array in drawn(0, 5, 1, 3)]
    assert float(eq9(*pair)) == pytest.approx(float(cumulative(*pair)))
    pull = TET_LAMBDA * float((pair[0] - 1).square().mean())
    assert float(tet(*pair)) == pytest.approx((1 - TET_LAMBDA) * float(eq9(*pair)) + pull)


def test_only_the_cumulative_loss_minds_the_order_of_the_timesteps() -> None:
    scores, labels = drawn(1, 4, 3, 3)
    there, back = torch.from_numpy(scores), torch.from_numpy(scores[:, ::-1].copy())
    found = {
        name: float(loss(there, torch.from_numpy(labels), 0.0))
        == pytest.approx(float(loss(back, torch.from_numpy(labels), 0.0)))
        for name, loss in LOSSES.items()
    }
    assert found == {"eq9": True, "cumulative": False, "tet": True}
