"""LIF neurons over T timesteps with surrogate gradients, in real numbers or in the chip's integers.

Eqs. (2)-(3) of Li et al., DAC 2023: ``v = τ u + I``; a spike where ``v > V_th``; then ``u = 0``.
Neurons of the libraries differ in what fixed point notices: SpikingJelly's fire at ``v ≥ V_th``,
snnTorch's hard reset takes the input of the same step with it or comes one step late. So they are
written out here, one autograd function that keeps one potential per neuron and timestep.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

SurrogateName = Literal["triangle", "dspike", "atan", "rectangle"]


def triangle(x: Tensor) -> Tensor:
    """``max(0, 1 − |x|)``: Eq. (4) of the paper for V_th = 1."""
    return (1 - x.abs()).clamp(min=0)


def dspike(x: Tensor) -> Tensor:
    """``1.5 sech²(3x)``: what the authors' training script uses (Dspike of Li et al., NeurIPS 2021,
    temperature 3, the constant ``1 / tanh 9`` left out).
    """
    return 1.5 * (1 - torch.tanh(3 * x).square())


def atan(x: Tensor) -> Tensor:
    """``1 / (1 + (π x)²)``: SpikingJelly's default (Fang et al., ICCV 2021, α = 2)."""
    return 1 / (1 + (math.pi * x).square())


def rectangle(x: Tensor) -> Tensor:
    """1 within ±1/2, else 0: Wu et al., Front. Neurosci. 12:331, 2018, width 1."""
    return (x.abs() < 0.5).to(x.dtype)


SURROGATES: dict[SurrogateName, Callable[[Tensor], Tensor]] = {
    "triangle": triangle,
    "dspike": dspike,
    "atan": atan,
    "rectangle": rectangle,
}
"""Derivative of a spike after ``x = (v − V_th) / V_th``."""


@dataclass(frozen=True)
class LifDynamics:
    """How a potential goes on from one timestep to the next.

    The leak is ``m / 2^n``. With `bits`, potentials are integers: the leak rounds as the chip's,
    ``(u·m + 2^(n−1)) >> n``, and potentials are clipped to that width (docs/design.md, "Numbers").
    """

    leak_multiplier: int = 1
    leak_shift: int = 1
    reset: Literal["hard", "soft"] = "hard"
    surrogate: SurrogateName = "triangle"
    bits: int | None = None
    """Width of integer membranes; None computes in real numbers."""
    fused: bool = False
    """Compile the passes over time (torch.compile): several times faster, needs a C++ compiler."""

    @property
    def tau(self) -> float:
        return self.leak_multiplier / 2.0**self.leak_shift

    def leak(self, u: Tensor) -> Tensor:
        if self.bits is None:
            return u * self.tau
        if self.leak_shift == 0:
            return u * self.leak_multiplier
        half = 2.0 ** (self.leak_shift - 1)
        return ((u * self.leak_multiplier + half) / 2.0**self.leak_shift).floor()

    def clip(self, v: Tensor) -> Tensor:
        if self.bits is None:
            return v
        top = 2 ** (self.bits - 1)
        return v.clamp(-top, top - 1)


def lif(
    current: Tensor, threshold: Tensor, timesteps: int, dynamics: LifDynamics, static: bool = False
) -> Tensor:
    """Spikes of LIF neurons that start at u = 0.

    Parameters
    ----------
    current : (timesteps · n, c, ...), or (n, c, ...) where `static`
        Input current, time-major; a static current is the same at every timestep.
    threshold : (c,)
        V_th, in the unit of `current`; carries no gradient.

    Returns
    -------
    (timesteps · n, c, ...), 0 or 1, of the current's dtype. Potentials are float32 at least.
    """
    shape = (1, -1, *(1,) * (current.dim() - 2))
    spikes: Tensor = _Lif.apply(current, threshold.view(shape), timesteps, dynamics, static)  # type: ignore[no-untyped-call]
    return spikes


class _Lif(torch.autograd.Function):
    """Forward keeps ``v``; backward is back-propagation through time, through the reset too."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        timesteps: int,
        dynamics: LifDynamics,
        static: bool,
    ) -> Tensor:
        run = _fused(integrate) if dynamics.fused else integrate
        potentials, spikes = run(current, threshold, timesteps, dynamics, static)
        ctx.save_for_backward(potentials, threshold)
        ctx.timesteps, ctx.dynamics, ctx.static = timesteps, dynamics, static
        ctx.dtype = current.dtype
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        potentials, threshold = ctx.saved_tensors
        run = _fused(propagate_back) if ctx.dynamics.fused else propagate_back
        of_current = run(
            gradients[0], potentials, threshold, ctx.timesteps, ctx.dynamics, ctx.static
        )
        return of_current.to(ctx.dtype), None, None, None, None


def integrate(
    current: Tensor, threshold: Tensor, timesteps: int, dynamics: LifDynamics, static: bool
) -> tuple[Tensor, Tensor]:
    """Potentials before the reset, float32 at least, and spikes of the current's dtype."""
    n = len(current) if static else len(current) // timesteps
    u: Tensor | None = None
    potentials, spikes = [], []
    for t in range(timesteps):
        x = current if static else current[t * n : (t + 1) * n]
        if x.dtype == torch.bfloat16:
            x = x.float()
        v = dynamics.clip(x if u is None else dynamics.leak(u) + x)
        fires = v > threshold
        potentials.append(v)
        spikes.append(fires.to(current.dtype))
        u = v - threshold * fires if dynamics.reset == "soft" else v.masked_fill(fires, 0)
    return torch.cat(potentials), torch.cat(spikes)


def propagate_back(
    of_spikes: Tensor,
    potentials: Tensor,
    threshold: Tensor,
    timesteps: int,
    dynamics: LifDynamics,
    static: bool,
) -> Tensor:
    """Gradient of the current; that of each later timestep arrives through ``u``."""
    surrogate = SURROGATES[dynamics.surrogate]
    n = len(potentials) // timesteps
    of_current: list[Tensor] = []
    of_u: Tensor | None = None
    for t in reversed(range(timesteps)):
        now = slice(t * n, (t + 1) * n)
        v = potentials[now]
        slope = surrogate((v - threshold) / threshold) / threshold
        if of_u is None:
            of_v = of_spikes[now] * slope
        elif dynamics.reset == "soft":
            of_v = (of_spikes[now] - of_u * threshold) * slope + of_u
        else:
            of_v = (of_spikes[now] - of_u * v) * slope + of_u.masked_fill(v > threshold, 0)
        of_current.append(of_v)
        of_u = of_v * dynamics.tau
    return torch.stack(of_current).sum(0) if static else torch.cat(of_current[::-1])


@cache
def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled into few passes over memory; the first call of each shape takes seconds."""
    compiled: Callable[..., Any] = torch.compile(function, dynamic=True)
    return compiled
