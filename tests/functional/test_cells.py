from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imcsim.functional.cells import ProgrammedLayer, program
from imcsim.mapping import Mapping, map_network, slice_weights
from imcsim.network.layers import Network
from tests.mapping.chips import rram64
from tests.mapping.networks import zero_network
from tests.small_networks import linear, max_pool_network

SIGMA = 0.2


def one_weight_network(weight: int, rows: int = 400, outputs: int = 300) -> Network:
    """A classifier whose weights are all the same."""
    network = zero_network("same", [linear("fc", -1, outputs)], (rows, 1, 1))
    weights = np.full((outputs, rows), weight, np.int8)
    return replace(network, layers=(replace(network.layers[0], weight=weights),))


def mapped(network: Network, **overrides: Any) -> Mapping:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return map_network(
        network, rram64({"device.variation": SIGMA, "sigma_e.fifo_depth": 512} | named)
    )


def programmed(mapping: Mapping, seed: int = 0, layer: int = 0) -> ProgrammedLayer:
    return program(mapping, mapping.layers[layer], seed)


@pytest.mark.parametrize("model", ["weight", "device"])
def test_no_variation_leaves_the_exact_levels(model: str) -> None:
    mapping = mapped(max_pool_network(), device__variation_model=model, device__variation=0.0)
    for i, placed in enumerate(mapping.layers):
        cells = programmed(mapping, layer=i)
        exact = slice_weights(placed.layer.matrix, mapping.slicing).reshape(placed.rows, -1)
        assert cells.levels.dtype == np.uint8
        np.testing.assert_array_equal(cells.levels, exact)
        np.testing.assert_array_equal(cells.row_conductance, 16 * exact.astype(int).sum(axis=1))


def stored_weights(mapping: Mapping, cells: ProgrammedLayer) -> Any:
    factors = np.array([plane.factor for plane in mapping.slicing.planes])
    levels = cells.levels.reshape(len(cells.levels), len(factors), -1).astype(np.int64)
    return (levels * factors[:, None]).sum(axis=1) - mapping.slicing.offset


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
def test_the_weight_model_spreads_weights_around_their_value_by_sigma(signed_weights: str) -> None:
    mapping = mapped(one_weight_network(-50), mapping__signed_weights=signed_weights)
    weights = stored_weights(mapping, programmed(mapping))
    # 120,000 draws of σ = 10: the mean is good to 0.03 and σ to 0.02, each times five.
    assert weights.mean() == pytest.approx(-50, abs=0.15)
    # Rounding to whole weights adds a variance of 1/12.
    assert weights.std() == pytest.approx((100 + 1 / 12) ** 0.5, abs=0.1)


def test_the_weight_model_clips_at_the_largest_weight() -> None:
    mapping = mapped(one_weight_network(120))
    weights = stored_weights(mapping, programmed(mapping))
    assert weights.max() == 127
    # P(120·(1 + 0.2·n) > 126.5) with n standard normal
    assert (weights == 127).mean() == pytest.approx(0.3932, abs=0.01)


def test_the_weight_model_leaves_zero_weights_alone() -> None:
    mapping = mapped(one_weight_network(0))
    assert not stored_weights(mapping, programmed(mapping)).any()


def test_the_device_model_spreads_every_cell_by_sigma_of_its_conductance() -> None:
    # 11 + 128 = 8·16 + 11; in levels, R_off's share is 15/9.
    mapping = mapped(one_weight_network(11), device__variation_model="device")
    cells = programmed(mapping)
    assert cells.levels.dtype == np.float32
    levels = cells.levels.reshape(400, 2, 300)
    for plane, level in enumerate((8, 11)):
        conductance = levels[:, plane] + 15 / 9
        assert conductance.mean() == pytest.approx(level + 15 / 9, rel=0.003)
        assert conductance.std() == pytest.approx(SIGMA * (level + 15 / 9), rel=0.015)
    # Neighbouring cells are independent.
    assert abs(np.corrcoef(levels[:, 0].ravel(), levels[:, 1].ravel())[0, 1]) < 0.015


def test_cells_at_r_off_vary_too() -> None:
    # −128 + 128 would be level 0 twice; −112 is 1·16 + 0.
    mapping = mapped(one_weight_network(-112), device__variation_model="device")
    low = programmed(mapping).levels.reshape(400, 2, 300)[:, 1]
    assert low.mean() == pytest.approx(0, abs=0.005)
    assert low.std() == pytest.approx(SIGMA * 15 / 9, rel=0.015)


def test_a_conductance_is_never_negative() -> None:
    mapping = mapped(
        one_weight_network(127), device__variation_model="device", device__variation=1.0
    )
    levels = programmed(mapping).levels
    assert levels.min() == pytest.approx(-15 / 9)
    # P(1 + n < 0)
    assert (levels < -15 / 9 + 1e-6).mean() == pytest.approx(0.1587, abs=0.005)


def test_row_conductance_is_the_sum_over_the_rows_cells_in_sixteenths() -> None:
    mapping = mapped(max_pool_network(), device__variation_model="device")
    cells = programmed(mapping)
    np.testing.assert_allclose(
        cells.row_conductance, 16 * cells.levels.sum(axis=1, dtype=np.float64), atol=0.51
    )


@pytest.mark.parametrize("model", ["weight", "device"])
def test_a_chip_is_drawn_from_its_seed_and_no_two_crossbars_are_alike(model: str) -> None:
    mapping = mapped(one_weight_network(60, rows=128, outputs=64), device__variation_model=model)
    first = programmed(mapping, seed=3).levels
    np.testing.assert_array_equal(first, programmed(mapping, seed=3).levels)
    # Full 64-bit seeds are allowed; a neighbour is another chip.
    assert (first != programmed(mapping, seed=4).levels).mean() > 0.3
    assert (first != programmed(mapping, seed=2**64 - 1).levels).mean() > 0.3
    by_crossbar = first.reshape(2, 64, 2, 2, 32).transpose(0, 3, 1, 2, 4).reshape(4, -1)
    for i in range(4):
        for j in range(i):
            assert (by_crossbar[i] != by_crossbar[j]).mean() > 0.3


def test_layers_with_equal_weights_are_drawn_independently() -> None:
    specs = [linear("a", -1, 32, spikes=True), linear("b", 0, 32)]
    mapping = mapped(zero_network("two", specs, (32, 1, 1)), device__variation_model="device")
    a, b = (programmed(mapping, layer=i).levels for i in range(2))
    # Zero weights are levels 8 and 0 with an offset.
    for plane in (slice(32), slice(32, 64)):
        assert abs(np.corrcoef(a[:, plane].ravel(), b[:, plane].ravel())[0, 1]) < 0.15


def test_the_two_models_draw_independently() -> None:
    network = one_weight_network(60)
    by_weight = mapped(network, device__variation_model="weight", device__bits=8)
    by_device = mapped(network, device__variation_model="device", device__bits=8)
    a, b = programmed(by_weight).levels, programmed(by_device).levels
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.015


def test_a_draw_does_not_depend_on_how_full_its_crossbar_is() -> None:
    wide = mapped(one_weight_network(60, rows=70, outputs=40), device__variation_model="device")
    small = mapped(one_weight_network(60, rows=10, outputs=7), device__variation_model="device")
    large = programmed(wide).levels.reshape(70, 2, 40)
    np.testing.assert_array_equal(large[:10, :, :7], programmed(small).levels.reshape(10, 2, 7))


def test_levels_are_read_only_and_start_on_a_cache_line() -> None:
    cells = programmed(mapped(max_pool_network()))
    assert not cells.levels.flags.writeable
    assert cells.levels.ctypes.data % 64 == 0
