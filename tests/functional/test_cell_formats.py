from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.cells import program
from imcsim.functional.forward import ChipModel, build_model, run_batch
from imcsim.functional.vector_reads import Conductances, quantised, vector_layer
from imcsim.mapping import Mapping, map_network
from tests.functional.test_cells import one_weight_network
from tests.functional.test_vector_reads import OFFSET, placed_layer, settings_of
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_images

PARTS = {"eighths": 8, "sixteenths": 16}
DEVICE = {"device.variation": 0.2, "device.variation_model": "device", "sigma_e.fifo_depth": 512}


def mapped(network: Any, cells: str, **overrides: Any) -> Mapping:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return map_network(network, rram64(DEVICE | {"device.cells": cells} | named))


def built(mapping: Mapping, images: Any, seed: int = 1) -> ChipModel:
    return build_model(mapping, seed, calibrated_steps(mapping, images, mapping.network.timesteps))


@pytest.mark.parametrize("cells", PARTS)
@pytest.mark.parametrize("weight", [-112, -50, 110])
def test_rounding_keeps_means_and_adds_the_variance_of_half_a_part(weight: int, cells: str) -> None:
    """Against the same draws in float32, at levels 1 and 0, 4 and 14, 14 and 14.

    Means stay within 0.1 % of a level, and the variance grows by that of a uniform error, 1 / (12
    parts²): 0.1 % of a cell's own or less, but at R_off, where it is 1.2 % (eighths).
    """
    network = one_weight_network(weight)
    real, held = (
        program(m, m.layers[0], 3).levels.reshape(400, 2, 300).astype(float)
        for m in (mapped(network, "float32"), mapped(network, cells))
    )
    error, parts = held - real, PARTS[cells]
    np.testing.assert_array_equal(held * parts, np.rint(held * parts))
    assert np.abs(error).max() <= 0.5 / parts + 1e-6
    # 120,000 cells each: five times the deviation of a mean of uniform errors.
    assert np.abs(error.mean(axis=(0, 2))).max() < 5 / parts / np.sqrt(12 * 120_000) < 0.001
    added = held.var(axis=(0, 2)) - real.var(axis=(0, 2))
    spread = 2 * real.std(axis=(0, 2)) / parts / np.sqrt(12 * 120_000)
    assert (np.abs(added - 1 / (12 * parts**2)) < 5 * spread + 1e-5).all()


@pytest.mark.parametrize("cells", PARTS)
@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_integers_read_what_float32_sums_of_the_same_conductances_give(
    name: str, signed_weights: str, cells: str
) -> None:
    network = SMALL_NETWORKS[name](seed=31)
    mapping = mapped(
        network, cells, mapping__signed_weights=signed_weights, crossbar__rows=16,
        crossbar__cols=16, adc__bits=5,
    )  # fmt: skip
    images = random_images(network, 3)
    fast = built(mapping, images)
    assert all(v is not None and v.cells.dtype != np.float32 for v in fast.vectors.values())
    slow = ChipModel(mapping, fast.cells, fast.adc)
    vars(slow)["vectors"] = dict.fromkeys(fast.vectors)
    found, expected = (run_batch(m, images, network.timesteps) for m in (fast, slow))
    for value in ("logits", "spikes", "measured_once", "measured_step"):
        np.testing.assert_array_equal(getattr(found, value), getattr(expected, value))


def test_float32_is_the_default_and_a_rounded_chip_is_another_one() -> None:
    network = max_pool_network(seed=32)
    images = random_images(network, 4)
    plain = map_network(network, rram64(DEVICE))
    logits = [
        run_batch(built(m, images), images, 3).logits
        for m in (plain, mapped(network, "float32"), mapped(network, "eighths"))
    ]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert (logits[0] != logits[2]).any()


def test_whole_levels_are_left_as_they_are() -> None:
    network = max_pool_network(seed=33)
    images = random_images(network, 4)
    float32, eighths = (
        run_batch(built(m, images), images, 3)
        for m in (
            mapped(network, cells, device__variation_model="weight")
            for cells in ("float32", "eighths")
        )
    )
    np.testing.assert_array_equal(float32.logits, eighths.logits)


@pytest.mark.parametrize(
    "overrides",
    [
        {"mapping.row_order": "flat"},
        {"crossbar.rows_per_read": 5},
        {"mapping.signed_weights": "offset_column"},
        {"mapping.signed_weights": "differential", "mapping.subtract": "analog"},
        {"adc.rounding": "down"},
        {"adc.gain_sigma": 0.01},
        {"adc.noise_sigma_levels": 0.1},
        {"device.off_current": "digital"},
    ],
)
def test_reads_that_integers_cannot_make_are_refused(overrides: dict[str, Any]) -> None:
    network = max_pool_network(seed=34)
    mapping = map_network(network, rram64(DEVICE | {"device.cells": "eighths"} | overrides))
    with pytest.raises(MappingError) as caught:
        built(mapping, random_images(network, 2))
    assert str(caught.value) == (
        "device.cells eighths is for ideal converters that read whole crossbars in row order"
        " channel, without reference columns, analog subtraction, R_off's current or noise of"
        " reads (take float32)"
    )


def test_conductances_beyond_a_format_are_refused() -> None:
    """A few are held at its end: at 4.6 σ for the highest level."""
    network = one_weight_network(127)
    few = mapped(network, "eighths")
    assert program(few, few.layers[0], 3).levels.max() == 30.25
    many = mapped(network, "eighths", device__variation=0.5)
    with pytest.raises(MappingError, match=(
        r"^layer fc: [\d,]+ of 240,000 conductances are beyond -1\.625 to 30\.25 levels, what"
        r" device\.cells eighths can hold here \(take sixteenths\)$"
    )):  # fmt: skip
        program(many, many.layers[0], 0)
    wide = mapped(network, "sixteenths", device__variation=0.5)
    program(wide, wide.layers[0], 0)
    off = mapped(network, "sixteenths", device__on_off_ratio=1.001)
    with pytest.raises(MappingError, match=r"-2047\.94 to 2047\.94 levels.* \(take float32\)$"):
        program(off, off.layers[0], 0)


def test_not_one_given_conductance_is_cut_off(tmp_path: Path) -> None:
    network = one_weight_network(0, rows=8, outputs=300)
    file = tmp_path / "cells.npz"
    keys = {"device__variation": 0.0, "device__conductances": str(file)}
    given = np.ones((8, 600))
    given[3, 5] = 31.875
    np.savez(file, L0=given)
    mapping = mapped(network, "eighths", **keys)
    np.testing.assert_array_equal(program(mapping, mapping.layers[0], 0).levels, given)
    given[3, 5] = 32
    np.savez(file, L0=given)
    with pytest.raises(MappingError, match="layer fc: 1 of 4,800 conductances are beyond 0 to 31"):
        program(mapping, mapping.layers[0], 0)


@pytest.mark.parametrize(
    "overrides",
    [
        # Sums of 1,024 rows of up to 255; a step for which no constants are exact.
        {"crossbar.rows": 1024},
        {"adc.range": "fixed", "adc.step_levels": 1 / 16},
    ],
)
def test_what_16_bits_cannot_hold_is_refused(overrides: dict[str, Any]) -> None:
    network = one_weight_network(127, rows=1024)
    mapping = map_network(network, rram64(DEVICE | {"device.cells": "eighths"} | overrides))
    rows = mapping.chip.crossbar.rows
    with pytest.raises(MappingError) as caught:
        built(mapping, random_images(network, 1))
    assert str(caught.value) == (
        f"layer fc: device.cells eighths cannot hold sums of {rows} word lines or ADC steps of this"
        " size in 16 bits (take float32)"
    )


def test_sums_below_what_16_bits_hold_are_left_to_the_plain_kernel() -> None:
    """Signed sums could wrap round at their lower end, too."""
    placed = placed_layer(64, (3, 3), 3, 1, 4, 64)
    adc = settings_of([16, 16], OFFSET, 63, True)
    ones = np.ones(placed.rows, np.int64)
    for level, fits in ((-31.0, True), (-33.0, False)):
        held = quantised(np.full((placed.rows, 8), level, np.float32), 16)
        assert isinstance(held, Conductances)
        assert (vector_layer(placed, OFFSET, held, ones, adc) is not None) == fits
