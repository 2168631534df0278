from __future__ import annotations

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.functional.adc import (
    RangeCalibration,
    adc_settings,
    largest_sum,
    lossless_steps,
)
from imcsim.functional.cells import program
from imcsim.functional.forward import ChipModel, build_model, ideal_model, run_batch
from imcsim.mapping import Mapping, map_network
from imcsim.network.reference import run_reference
from tests.mapping.chips import rram64
from tests.small_networks import linear, max_pool_network, random_images, random_network


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return map_network(max_pool_network(), rram64())


@pytest.mark.parametrize(("rows", "bits", "largest"), [(64, 4, 960), (64, 8, 16320), (100, 1, 100)])
def test_the_largest_sum_is_every_row_at_the_highest_level(
    rows: int, bits: int, largest: int
) -> None:
    chip = rram64({"crossbar.rows": rows, "device.bits": bits})
    assert largest_sum(map_network(max_pool_network(), chip)) == largest


def test_a_code_is_worth_its_slices_weight_times_the_step(mapping: Mapping) -> None:
    placed = mapping.layers[0]
    cells = program(mapping, placed, 0, 0.0)
    settings = adc_settings(mapping, placed, {placed.index: np.array([48, 72])}, 63, cells)
    # In sixteenths of a level: steps of 3 and 4.5.
    assert settings.factor.tolist() == [48 * 16, 72]
    assert settings.max_code == 63
    np.testing.assert_allclose(settings.inverse_step, [1 / 3, 1 / 4.5], rtol=1e-7)
    # Half a step to round, and 1/64 against rounding errors where sums are whole.
    assert settings.bias.tolist() == [1.5 + 1 / 64, 2.25 + 1 / 64]


def test_real_conductances_have_no_guard_against_ties() -> None:
    mapping = map_network(max_pool_network(), rram64({"device.variation_model": "device"}))
    placed = mapping.layers[0]
    cells = program(mapping, placed, 0, 0.2)
    settings = adc_settings(mapping, placed, {placed.index: np.array([48, 72])}, 63, cells)
    assert settings.bias.tolist() == [1.5, 2.25]


def test_sums_that_could_overflow_the_accumulators_are_refused() -> None:
    # 8 signed input bits, 4096 rows: 2^12 · 2^8 · 2^7 · 2^4 = 2^31.
    def model(side: int) -> ChipModel:
        network = random_network([linear("fc", -1, 2)], (1, 64, side))
        return ideal_model(map_network(network, rram64()))

    assert model(63).adc[0].max_code == 960
    with pytest.raises(MappingError) as caught:
        model(64)
    assert str(caught.value) == (
        "layer fc: sums of 4,096 rows and inputs up to 128 overflow the chip's 32-bit accumulators"
    )


def test_unit_steps_with_enough_codes_lose_nothing() -> None:
    # 16 rows of levels up to 15 reach 240: 8 bits are exact, 7 clip.
    network = max_pool_network()
    overrides = {"crossbar.rows": 16, "device.variation": 0.0}
    images = random_images(network, 3)
    exact = run_reference(network, images).logits
    fits, clips = (map_network(network, rram64(overrides | {"adc.bits": bits})) for bits in (8, 6))
    enough = run_batch(build_model(fits, 0, lossless_steps(fits)), images, 3)
    np.testing.assert_array_equal(enough.logits, exact)
    short = run_batch(build_model(clips, 0, lossless_steps(clips)), images, 3)
    assert (short.logits != exact).any()
    assert ideal_model(clips).adc[0].max_code == 240


@pytest.fixture
def hand_made(mapping: Mapping) -> RangeCalibration:
    """Column sums 0..99 of conv1's high slice, 50 everywhere in its low slice; nothing else."""
    ranges = RangeCalibration(mapping)
    for m in mapping.layers:
        ranges.histogram(m.index)[:, :, 0] = 1
    histogram = ranges.histogram(0)
    histogram[...] = 0
    histogram[0, 0, :100] = 1
    histogram[0, 1, 50] = 100
    return ranges


@pytest.mark.parametrize(
    ("bits", "percentile", "steps"),
    [
        (4, 100, [112, 56]),  # 99 / 15 and 50 / 15 levels, rounded up to 7 and 3.5
        (4, 70, [80, 56]),  # 69 / 15 to 5
        (4, 40, [48, 56]),  # 39 / 15 to 3
        (5, 100, [56, 40]),  # 50 / 31 to 2, an even number, so 2.5
        (1, 100, [1584, 808]),  # 50 is even: 50.5
        (7, 100, [16, 16]),
        (12, 100, [16, 16]),
    ],
)
def test_steps_follow_from_the_percentile_and_the_number_of_codes(
    hand_made: RangeCalibration, bits: int, percentile: float, steps: list[int]
) -> None:
    assert hand_made.steps(bits, percentile)[0].tolist() == steps


def test_a_layer_without_any_input_still_has_a_step(hand_made: RangeCalibration) -> None:
    assert hand_made.steps(4, 99.9)[2].tolist() == [16, 16]


def test_the_widest_row_block_sets_the_range() -> None:
    mapping = map_network(max_pool_network(), rram64({"crossbar.rows": 16}))
    ranges = RangeCalibration(mapping)
    for m in mapping.layers:
        ranges.histogram(m.index)[:, :, 0] = 1
    ranges.histogram(2)[:, :, 0] = 0
    for block, largest in enumerate((10, 200, 30)):
        ranges.histogram(2)[block, :, largest] = 1
    assert ranges.steps(4, 100)[2].tolist() == [216, 216]
