from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.functional.adc import (
    RangeCalibration,
    adc_settings,
    largest_sum,
    lossless_steps,
    stated_steps,
)
from imcsim.functional.calibration import calibrated_steps
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
    cells = program(mapping, placed, None)
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
    cells = program(mapping, placed, 0)
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


def test_coarse_codes_may_be_worth_twice_their_current() -> None:
    # 2,048 rows fit with whole steps, and not where every code could round up.
    network = random_network([linear("fc", -1, 2)], (1, 64, 32))
    mapping = map_network(network, rram64())
    placed = mapping.layers[0]
    cells = program(mapping, placed, None)
    adc_settings(mapping, placed, lossless_steps(mapping), 960, cells)
    with pytest.raises(MappingError, match="overflow"):
        adc_settings(mapping, placed, {0: np.array([16, 48])}, 63, cells)


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


# Ranges that need no images


def steps_of(overrides: dict[str, Any]) -> list[float]:
    """Steps of the first layer in levels, without any image to look at."""
    mapping = map_network(max_pool_network(), rram64(overrides))
    nothing = np.zeros((0, 2, 6, 6), np.uint8)
    return (calibrated_steps(mapping, nothing, 3)[0] / 16).tolist()


@pytest.mark.parametrize("step", [1 / 16, 1.0, 2.0, 3.3125, 1000.0])
def test_a_fixed_step_is_taken_as_it_is(step: float) -> None:
    assert steps_of({"adc.range": "fixed", "adc.step_levels": step}) == [step, step]


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        # 64 · 15 = 960 levels by 63 codes: 15.24 to 15.5; by 255: 3.76 to 4, an even number.
        ({"adc.bits": 6}, [15.5, 15.5]),
        ({"adc.bits": 8}, [4.5, 4.5]),
        ({"adc.bits": 10}, [1.0, 1.0]),
        # 16 rows at once: 240 levels by 63 codes, 3.81.
        ({"adc.bits": 6, "crossbar.rows_per_read": 16}, [4.5, 4.5]),
        # Seven stored bits: the upper slice holds 0..7, 448 levels by 63 codes, 7.11.
        ({"adc.bits": 6, "mapping.signed_weights": "differential"}, [7.5, 7.5, 15.5, 15.5]),
        # A pair has a sign, so 31 codes: 448 / 31 = 14.45 and 960 / 31 = 30.97.
        ({"adc.bits": 6, "mapping.signed_weights": "differential", "mapping.subtract": "analog"},
         [14.5, 31.0]),
        # 15 / (16 − 1) = 1 level of R_off in every cell: 64 · 16 = 1024 levels, 16.25.
        ({"adc.bits": 6, "device.on_off_ratio": 16.0, "device.off_current": "digital"},
         [16.5, 16.5]),
        # Five bits: 2^5 − 1 is one slice of 15 and one of 1; 64 levels by 63 codes.
        ({"adc.bits": 6, "mapping.weight_bits": 5}, [1.5, 15.5]),
    ],
)  # fmt: skip
def test_the_formula_covers_all_driven_rows_at_the_highest_level(
    overrides: dict[str, Any], steps: list[float]
) -> None:
    network = random_network([linear("fc", -1, 2)], (4, 1, 1))
    small = replace(network, layers=(replace(
        network.layers[0], weight=np.ones((2, 4), np.int8)),))  # fmt: skip
    found = stated_steps(map_network(small, rram64({"adc.range": "formula"} | overrides)))
    assert found is not None
    assert (found[0] / 16).tolist() == steps


def test_a_lossless_range_is_one_level_per_code_where_bits_suffice() -> None:
    assert steps_of({"adc.range": "lossless", "adc.bits": 10}) == [1.0, 1.0]
    pairs = {"mapping.signed_weights": "differential", "mapping.subtract": "analog"}
    assert steps_of({"adc.range": "lossless", "adc.bits": 11} | pairs) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, "needs 10 bits for sums up to 960 levels, adc.bits is 9"),
        ({"device.bits": 8}, "needs 14 bits for sums up to 16,320 levels, adc.bits is 9"),
        ({"mapping.signed_weights": "differential", "mapping.subtract": "analog"},
         "needs 11 bits for sums up to 960 levels, adc.bits is 9"),
        ({"device.off_current": "digital"},
         "needs 11 bits for sums up to 1,067 levels, adc.bits is 9"),
    ],
)  # fmt: skip
def test_a_lossless_range_says_how_many_bits_it_needs(
    overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(MappingError) as caught:
        steps_of({"adc.range": "lossless"} | overrides)
    assert str(caught.value) == (
        f"adc.range lossless {message} (raise it, or lower crossbar.rows_per_read)"
    )


def test_a_converter_that_rounds_down_has_no_half_step() -> None:
    mapping = map_network(max_pool_network(), rram64({"adc.rounding": "down"}))
    placed = mapping.layers[0]
    cells = program(mapping, placed, None)
    steps = {placed.index: np.array([48, 72])}
    assert adc_settings(mapping, placed, steps, 63, cells, seed=0).bias.tolist() == [1 / 64] * 2
    # The ideal copy rounds as ever: its codes are whole levels.
    ideal = adc_settings(mapping, placed, steps, 63, cells).bias
    assert ideal.tolist() == [1.5 + 1 / 64, 2.25 + 1 / 64]


def test_the_sign_of_a_code_takes_one_of_its_bits() -> None:
    pairs = {"mapping.signed_weights": "differential", "mapping.subtract": "analog"}
    mapping = map_network(max_pool_network(), rram64(pairs | {"adc.bits": 6}))
    model = build_model(mapping, 0, lossless_steps(mapping))
    assert model.adc[0].max_code == 31
    ranges = RangeCalibration(mapping)
    for m in mapping.layers:
        histogram = ranges.histogram(m.index)
        assert histogram.shape[1] == 2
        histogram[:, :, 100] = 1
    # 100 levels by 31 codes: 3.23 to 3.5.
    assert ranges.steps(6, 100)[0].tolist() == [56, 56]
