from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS, Activity
from imcsim.energy.account import dynamic_energy, energy_by_layer
from imcsim.energy.prices import COMPONENTS, Bill, Price, price_chip
from imcsim.functional.counts import fixed_counts
from imcsim.functional.forward import ideal_model
from imcsim.functional.images import run_images
from imcsim.mapping import map_network
from tests.mapping.chips import exact
from tests.small_networks import max_pool_network, random_images, residual_network

FULL = np.array([3, 3, 3, 3, 3])


def activity_of(first_layer: str = "every_timestep", residual: bool = False) -> Activity:
    """Five images through a small chip."""
    network = (residual_network if residual else max_pool_network)(seed=40)
    mapping = map_network(network, exact({"dataflow.first_layer": first_layer}))
    result = run_images(ideal_model(mapping), random_images(network, 5), 3)
    return Activity(
        tuple(layer.name for layer in network.layers), *fixed_counts(mapping),
        result.measured_once, result.measured_step, result.simulated,
    )  # fmt: skip


@pytest.fixture(scope="module")
def activity() -> Activity:
    return activity_of(first_layer="once")


@pytest.fixture(scope="module")
def bill() -> Bill:
    return price_chip(exact({"dataflow.first_layer": "once"}), 4)


def test_a_made_up_bill_is_counted_by_hand() -> None:
    fixed = np.zeros((2, len(FIXED_ACTIONS)), np.int64)
    once, step = fixed.copy(), fixed.copy()
    once[0, list(FIXED_ACTIONS).index("image_load_bit")] = 100
    step[1, list(FIXED_ACTIONS).index("pool")] = 7
    measured = np.zeros((2, 3, 2, len(MEASURED_ACTIONS)), np.int64)
    measured[0, :, 0, 0] = [1, 2, 3]
    measured[1, 0, 0, 0] = 10
    made = Activity(
        ("a", "b"), once, step, np.zeros((2, 2, 3), np.int64), measured, np.array([3, 1])
    )
    prices = (
        Price("image_load_bit", "image_load", 2.0),
        Price("pool", "pooling", 10.0),
        Price("row_activation", "crossbar", 1000.0),
        Price("row_activation", "input_switch", 0.5),
    )
    energy = dynamic_energy(made, Bill(prices, {}, {}, 0.0, 0))
    assert energy.once_j.tolist() == [200, 200]
    # The second image left after one timestep: nothing is charged afterwards.
    assert energy.step_j.tolist() == [[1070.5, 2071.0, 3071.5], [10075.0, 0, 0]]
    assert energy.until(np.array([2, 1])).tolist() == [200 + 1070.5 + 2071, 200 + 10075]
    table = energy_by_layer(made, Bill(prices, {}, {}, 0.0, 0), np.array([2, 1]))
    assert table.sum(axis=1).tolist() == [(400 + 3 * 1000.5 + 10 * 1000.5) / 2, 3 * 70 / 2]
    assert table[1, COMPONENTS.index("pooling")] == 105
    assert table[0, COMPONENTS.index("crossbar")] == 6500


@pytest.mark.parametrize("steps", [[3, 3, 3, 3, 3], [1, 2, 3, 1, 2], [1, 1, 1, 1, 1]])
def test_layers_and_components_sum_to_the_total(
    activity: Activity, bill: Bill, steps: list[int]
) -> None:
    taken = np.array(steps)
    total = dynamic_energy(activity, bill).until(taken).mean()
    table = energy_by_layer(activity, bill, taken)
    assert table.shape == (len(activity.layers), len(COMPONENTS))
    assert table.sum() == pytest.approx(total, rel=1e-12)
    assert not table[:, COMPONENTS.index("leakage")].any()
    assert (table >= 0).all()


def test_until_the_last_timestep_is_everything(activity: Activity, bill: Bill) -> None:
    energy = dynamic_energy(activity, bill)
    np.testing.assert_allclose(
        energy.until(FULL), energy.once_j + energy.step_j.sum(axis=1), rtol=1e-12
    )
    np.testing.assert_allclose(
        energy.until(FULL - 2), energy.once_j + energy.step_j[:, 0], rtol=1e-12
    )


def test_two_equal_timesteps_cost_twice_one(activity: Activity, bill: Bill) -> None:
    repeated = np.repeat(activity.measured_step[:, :1], 2, axis=1)
    two = replace(activity, measured_step=repeated, simulated=np.full(5, 2))
    one = replace(activity, measured_step=repeated[:, :1], simulated=np.full(5, 1))
    np.testing.assert_allclose(
        dynamic_energy(two, bill).step_j.sum(axis=1),
        2 * dynamic_energy(one, bill).step_j.sum(axis=1),
        rtol=1e-14,
    )


def scaled(activity: Activity, factor: int) -> Activity:
    return replace(
        activity,
        fixed_once=activity.fixed_once * factor,
        fixed_step=activity.fixed_step * factor,
        measured_once=activity.measured_once * factor,
        measured_step=activity.measured_step * factor,
    )


def test_energy_is_linear_in_counts_and_prices(activity: Activity, bill: Bill) -> None:
    whole = dynamic_energy(activity, bill)
    tripled = dynamic_energy(scaled(activity, 3), bill)
    np.testing.assert_allclose(tripled.step_j, 3 * whole.step_j, rtol=1e-12)
    np.testing.assert_allclose(tripled.once_j, 3 * whole.once_j, rtol=1e-12)
    dearer = replace(
        bill, prices=tuple(replace(price, energy_j=2 * price.energy_j) for price in bill.prices)
    )
    np.testing.assert_allclose(dynamic_energy(activity, dearer).step_j, 2 * whole.step_j)


def test_an_image_costs_the_same_in_any_company(activity: Activity, bill: Bill) -> None:
    whole = dynamic_energy(activity, bill)
    order = np.array([3, 0, 4, 1])
    some = replace(
        activity,
        measured_once=activity.measured_once[order],
        measured_step=activity.measured_step[order],
        simulated=activity.simulated[order],
    )
    energy = dynamic_energy(some, bill)
    np.testing.assert_array_equal(energy.once_j, whole.once_j[order])
    np.testing.assert_array_equal(energy.step_j, whole.step_j[order])


def test_keeping_the_first_layer_saves_its_reads_after_the_first_timestep() -> None:
    every, once = activity_of("every_timestep"), activity_of("once")
    prices = price_chip(exact({"dataflow.first_layer": "once"}), 4)
    repeated, kept = dynamic_energy(every, prices), dynamic_energy(once, prices)
    assert (kept.step_j < repeated.step_j).all()
    assert (kept.once_j > repeated.once_j).all()
    assert (kept.until(FULL) < repeated.until(FULL)).all()
    # With a single timestep it only adds writing and reading the currents: 180 of 16 bits.
    memory = {p.action: p.energy_j for p in prices.prices if p.action.startswith("current")}
    extra: npt.NDArray[np.float64] = kept.until(FULL - 2) - repeated.until(FULL - 2)
    np.testing.assert_allclose(extra, 180 * 16 * sum(memory.values()), rtol=1e-6)


def test_more_spikes_cost_more() -> None:
    """Two images that differ in one active row of one read."""
    base = activity_of(residual=True)
    more = base.measured_step.copy()
    more[0, 0, 1] += [1, 160, 0]
    prices = price_chip(exact(), 3)
    difference = (
        dynamic_energy(replace(base, measured_step=more), prices).step_j
        - dynamic_energy(base, prices).step_j
    )
    assert difference[0, 0] > 0
    assert np.count_nonzero(difference) == 1
