"""LIF neurons as a graph of elementary operations that autograd differentiates by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor


class Spike(torch.autograd.Function):
    """Heaviside step of x; its derivative is replaced by `slope(x)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(x), None


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`."""
    return smooth + (exact - smooth).detach()


def unrolled_lif(
    currents: list[Tensor],
    threshold: Tensor,
    leak: tuple[int, int],
    reset: Literal["hard", "soft"],
    slope: Callable[[Tensor], Tensor],
    bits: int | None = None,
) -> list[Tensor]:
    """Spikes (n, c) of each timestep from float64 currents (n, c).

    Parameters
    ----------
    threshold : (c,)
    leak
        m and n of τ = m / 2^n.
    slope
        Derivative of a spike after (v − V_th) / V_th.
    bits
        Width of integer membranes, whose rounded leak and clip pass gradients on as if they were
        neither rounded nor clipped.
    """
    m, n = leak
    u = torch.zeros_like(currents[0])
    spikes = []
    for current in currents:
        leaked = u * m / 2**n
        if bits is not None:
            # ⌊x + 1/2⌋: the chip's rounding.
            leaked = straight_through((leaked + 0.5).floor(), leaked)
        v = leaked + current
        if bits is not None:
            top = 2 ** (bits - 1)
            v = straight_through(v.clamp(-top, top - 1), v)
        spike: Tensor = Spike.apply((v - threshold) / threshold, slope)
        spikes.append(spike)
        u = v - spike * threshold if reset == "soft" else v * (1 - spike)
    return spikes
