"""LIF neurons against the numpy references, and their gradients against an unrolled graph."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imcsim.network import reference
from imcsim.network.layers import Neuron
from imcsim.training.neuron import SURROGATES, LifDynamics, SurrogateName, lif
from tests.reference.unrolled_lif import unrolled_lif

Reset = Literal["hard", "soft"]

resets = st.sampled_from(("hard", "soft"))
leaks = st.sampled_from(((1, 1), (1, 0), (3, 2), (230, 8)))
seeds = st.integers(0, 2**32 - 1)


def sixteenths(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    """−1.5 to 2.5 on a grid that holds the threshold 1 and every sum of a few of them exactly."""
    drawn = np.random.default_rng(seed).integers(-24, 41, shape)
    return (drawn / 16).astype(np.float32)


def scalar_lif(currents: list[float], tau: float, reset: Reset) -> list[float]:
    """Eqs. (2)-(3) of Li et al., DAC 2023, V_th = 1, one neuron."""
    u, spikes = 0.0, []
    for current in currents:
        v = tau * u + current
        spikes.append(1.0 if v > 1 else 0.0)
        u = v if v <= 1 else (v - 1 if reset == "soft" else 0.0)
    return spikes


@given(seeds, leaks, resets)
def test_spikes_are_those_of_the_paper_s_equations(
    seed: int, leak: tuple[int, int], reset: Reset
) -> None:
    current = sixteenths(seed, 5, 2, 3)  # (t, n, c)
    dynamics = LifDynamics(*leak, reset)
    found = lif(torch.from_numpy(current).flatten(0, 1), torch.ones(1), 5, dynamics)
    for n, c in np.ndindex(2, 3):
        one = current[:, n, c].tolist()
        assert found.view(5, 2, 3)[:, n, c].tolist() == scalar_lif(one, dynamics.tau, reset)


@given(seeds, leaks, resets, st.sampled_from((6, 16)))
def test_integer_neurons_are_those_of_the_reference(
    seed: int, leak: tuple[int, int], reset: Reset, bits: int
) -> None:
    rng = np.random.default_rng(seed)
    top = 2 ** (bits - 1)
    neuron = Neuron(*leak, reset, fraction_bits=1, membrane_bits=bits)
    # Beyond the width, so that potentials are clipped at both ends.
    current = rng.integers(-2 * top, 2 * top, (4, 2, 3, 2, 2))
    threshold = rng.integers(1, top - 1, 3)
    u, expected, clipped = np.zeros((2, 3, 2, 2), np.int64), [], 0
    for x in current:
        u, spikes, saturations = reference.lif(u, x, threshold, neuron)
        expected.append(spikes)
        clipped += saturations
    found = lif(
        torch.from_numpy(current).flatten(0, 1).double(),
        torch.from_numpy(threshold).double(),
        4,
        LifDynamics(*leak, reset, bits=bits),
    )
    np.testing.assert_array_equal(found.view(4, 2, 3, 2, 2), np.stack(expected))
    assert clipped


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_neuron_at_the_threshold_does_not_fire(reset: Reset) -> None:
    current = torch.tensor([[1.0, 1.0 + 2**-23, 0.75], [0.5, 0.5, 0.75]])
    spikes = lif(current, torch.ones(1), 2, LifDynamics(reset=reset))
    # At t = 2: 1/2 + 1/2 again; at most 2^-24 + 1/2; 3/8 + 3/4.
    assert spikes.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_every_channel_has_its_own_threshold() -> None:
    current = torch.full((1, 3, 2, 2), 2.0)
    spikes = lif(current, torch.tensor([1.0, 2.0, 3.0]), 1, LifDynamics())
    assert spikes[0, :, 0, 0].tolist() == [1, 0, 0]


@given(seeds, leaks, resets)
def test_a_static_current_is_the_same_at_every_timestep(
    seed: int, leak: tuple[int, int], reset: Reset
) -> None:
    once = torch.from_numpy(sixteenths(seed, 3, 2)).requires_grad_()
    each = once.detach().repeat(4, 1).requires_grad_()
    dynamics = LifDynamics(*leak, reset)
    spikes = lif(once, torch.ones(1), 4, dynamics, static=True)
    again = lif(each, torch.ones(1), 4, dynamics)
    assert torch.equal(spikes, again)
    weights = torch.from_numpy(sixteenths(seed + 1, 12, 2))
    torch.autograd.backward([spikes, again], [weights, weights])
    assert once.grad is not None and each.grad is not None
    torch.testing.assert_close(once.grad, each.grad.view(4, 3, 2).sum(0))


def gradients(
    current: npt.NDArray[Any],
    threshold: Tensor,
    dynamics: LifDynamics,
    weights: npt.NDArray[Any],
) -> tuple[Tensor, Tensor]:
    """Of the sum of the weighted spikes, after the current (t, n, c): ours and the graph's."""
    t, n, c = current.shape
    mine = torch.from_numpy(current).double().requires_grad_()
    spikes = lif(mine.flatten(0, 1), threshold, t, dynamics).view(t, n, c)
    (spikes * torch.from_numpy(weights)).sum().backward()
    twin = torch.from_numpy(current).double().requires_grad_()
    unrolled = unrolled_lif(
        list(twin),
        threshold,
        (dynamics.leak_multiplier, dynamics.leak_shift),
        dynamics.reset,
        SURROGATES[dynamics.surrogate],
        dynamics.bits,
    )
    (torch.stack(unrolled) * torch.from_numpy(weights)).sum().backward()
    assert torch.equal(spikes, torch.stack(unrolled))
    assert mine.grad is not None and twin.grad is not None
    return mine.grad, twin.grad


@given(seeds, leaks, resets, st.sampled_from(sorted(SURROGATES)))
def test_gradients_go_back_through_time_and_through_the_reset(
    seed: int, leak: tuple[int, int], reset: Reset, surrogate: SurrogateName
) -> None:
    current, weights = sixteenths(seed, 4, 2, 3), sixteenths(seed + 1, 4, 2, 3)
    dynamics = LifDynamics(*leak, reset, surrogate)
    threshold = torch.tensor([1.0, 0.5, 1.5]).double()
    found, expected = gradients(current, threshold, dynamics, weights)
    torch.testing.assert_close(found, expected)


@given(seeds, leaks, resets)
def test_gradients_of_integer_neurons_ignore_rounding_and_clipping(
    seed: int, leak: tuple[int, int], reset: Reset
) -> None:
    current = np.round(sixteenths(seed, 4, 2, 3) * 40)
    dynamics = LifDynamics(*leak, reset, bits=7)
    threshold = torch.tensor([40.0, 20.0, 60.0]).double()
    found, expected = gradients(current, threshold, dynamics, sixteenths(seed + 1, 4, 2, 3))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow  # the compiler takes most of a minute
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of parts of itself
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_compiled_passes_give_the_same_numbers(reset: Reset) -> None:
    weights = torch.from_numpy(sixteenths(1, 6, 2, 3))
    results = []
    for fused in (False, True):
        current = torch.from_numpy(sixteenths(0, 6, 2, 3)).requires_grad_()
        spikes = lif(current, torch.ones(1), 3, LifDynamics(reset=reset, fused=fused))
        spikes.backward(weights)
        results.append((spikes.detach(), current.grad))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-6)


FORMULAS: dict[str, Any] = {
    "triangle": lambda x: max(0.0, 1 - abs(x)),
    "dspike": lambda x: 1.5 / math.cosh(3 * x) ** 2,
    "atan": lambda x: 1 / (1 + (math.pi * x) ** 2),
    "rectangle": lambda x: float(abs(x) < 0.5),
}


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_a_surrogate_is_its_formula(name: SurrogateName) -> None:
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    expected = [FORMULAS[name](each) for each in x.tolist()]
    np.testing.assert_allclose(SURROGATES[name](x), expected, atol=1e-12)


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_a_surrogate_is_the_derivative_of_a_step_of_height_1(name: SurrogateName) -> None:
    # The tails of 1 / (1 + (πx)²) beyond ±1,000 hold 2 / (π² · 1,000).
    x = torch.linspace(-1000, 1000, 4_000_001, dtype=torch.float64)
    area = float(torch.trapezoid(SURROGATES[name](x), x))
    assert area == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_a_slope_scales_with_the_threshold(name: SurrogateName) -> None:
    """A neuron counted in other units has the same spikes and the gradient of those units."""
    base = torch.tensor([[0.7], [1.2]])
    grads = []
    for unit in (1.0, 8.0):
        current = (base * unit).requires_grad_()
        lif(current, torch.tensor([unit]), 1, LifDynamics(surrogate=name)).sum().backward()
        assert current.grad is not None
        grads.append(current.grad * unit)
    torch.testing.assert_close(grads[0], grads[1])


def test_bfloat16_currents_are_integrated_in_float32() -> None:
    # In bfloat16, 1 + 1/256 would be 1.
    current = torch.tensor([[1.0], [0.5 + 2**-8]], dtype=torch.bfloat16).requires_grad_()
    dynamics = LifDynamics(leak_multiplier=1, leak_shift=1)
    spikes = lif(current, torch.ones(1), 2, dynamics)
    assert spikes.dtype == torch.bfloat16
    assert spikes.flatten().tolist() == [0, 1]
    spikes.sum().backward()
    assert current.grad is not None and current.grad.dtype == torch.bfloat16
