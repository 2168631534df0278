"""Keys of mappings, reads and converters: what they allow, alone and together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imcsim.chip import dump_chip, load_chip
from imcsim.errors import ArchError, UsageError
from tests.chip.files import ARCH

DIFFERENTIAL = "mapping.signed_weights=differential"


def option_fault(*options: str) -> str:
    """The one line that options of ``--set`` are refused with."""
    with pytest.raises(UsageError) as caught:
        load_chip(ARCH / "rram64.yaml", options)
    return str(caught.value)


def test_what_is_left_out_is_table_is_chip() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    assert (chip.mapping.weight_bits, chip.mapping.slices, chip.mapping.subtract) == (
        8, "adjacent", "digital",
    )  # fmt: skip
    assert (chip.adc.range, chip.adc.rounding, chip.device.off_current) == (
        "calibrated", "nearest", "corrected",
    )  # fmt: skip
    assert chip.rows_per_read == chip.crossbar.rows == chip.conversions_per_read == 64
    errors = (chip.adc.offset_sigma_levels, chip.adc.gain_sigma, chip.adc.noise_sigma_levels)
    assert errors == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mapping.weight_bits=1"], "must be a whole number of bits from 2 to 8 (got 1)"),
        (["mapping.weight_bits=9"], "must be a whole number of bits from 2 to 8 (got 9)"),
        (["mapping.row_order=kernel"], "must be one of channel, flat, position (got 'kernel')"),
        (["mapping.subtract=analogue"], "must be one of digital, analog (got 'analogue');"
         " did you mean analog?"),
        (["mapping.slices=far"], "must be one of adjacent, separate (got 'far')"),
        (["mapping.signed_weights=column"], "must be one of offset, offset_column, differential"
         " (got 'column'); did you mean offset_column?"),
        (["device.off_current=ideal"], "must be one of corrected, digital, uncorrected"
         " (got 'ideal')"),
        (["adc.range=auto"], "must be one of calibrated, formula, fixed, lossless (got 'auto')"),
        (["adc.rounding=up"], "must be one of nearest, down (got 'up')"),
        (["adc.step_levels=0.01"], "must be a number from 0.0625 to 65536 (got 0.01)"),
        (["adc.offset_sigma_levels=-1"], "must be a number from 0 to 10000 (got -1)"),
        (["adc.gain_sigma=2"], "must be a number from 0 to 1 (got 2)"),
        (["adc.noise_sigma_levels=-0.5"], "must be a number from 0 to 10000 (got -0.5)"),
        (["crossbar.rows_per_read=0"], "must be a whole number from 1 to 4096 (got 0)"),
        (["crossbar.rows_per_read=65"], "must be at most crossbar.rows, 64 (got 65)"),
        (["adc.step_levels=3"], "has no effect with adc.range calibrated; it belongs to fixed"),
        (["adc.range=fixed"], "fixed needs adc.step_levels, what one code is worth"),
        (["mapping.subtract=analog"], "analog subtracts positive and negative cells;"
         " mapping.signed_weights must be differential (got offset)"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_says_what_is_allowed(
    options: list[str], message: str
) -> None:
    assert option_fault(*options) == f"--set {options[-1]}: {message}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["adc.range=fixed", "adc.step_levels=3.3"],
         "--set adc.step_levels=3.3: must be a multiple of 1/16 (got 3.3)"),
        ([DIFFERENTIAL, "mapping.subtract=analog", "adc.bits=1"], "--set adc.bits=1: must be at"
         " least 2 with mapping.subtract analog: one bit is the sign (got 1)"),
        (["device.off_current=digital", "device.on_off_ratio=1.05"],
         "--set device.on_off_ratio=1.05: must be at least 1.1 with device.off_current digital"
         " (got 1.05)"),
        (["mapping.signed_weights=offset_column", "adc.columns_per_adc=1", "crossbar.cols=3"],
         "--set crossbar.cols=3: must be at least 4, the cells of one 8-bit weight and its"
         " reference with device.bits 4 and mapping.signed_weights offset_column (got 3)"),
        ([DIFFERENTIAL, "mapping.slices=separate", "adc.columns_per_adc=1", "crossbar.cols=1"],
         "--set crossbar.cols=1: must be at least 2, one slice of one 8-bit weight with device.bits"
         " 4 and mapping.signed_weights differential (got 1)"),
        (["mapping.weight_bits=5", "adc.columns_per_adc=1", "crossbar.cols=1"],
         "--set crossbar.cols=1: must be at least 2, the cells of one 5-bit weight with device.bits"
         " 4 and mapping.signed_weights offset (got 1)"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_one_line(options: list[str], message: str) -> None:
    assert option_fault(*options) == message


def test_a_step_in_a_file_with_another_range_is_blamed_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(
        f"format: imcsim-arch/1\nextends: {ARCH / 'rram64.yaml'}\nadc:\n  step_levels: 3\n"
    )
    with pytest.raises(ArchError) as caught:
        load_chip(file)
    assert caught.value.faults[0].endswith(
        "chip.yaml:4:16: adc.step_levels: has no effect with adc.range calibrated; it belongs to"
        " fixed"
    )


@pytest.mark.parametrize(
    ("options", "cells", "slices", "conversions"),
    [
        ({"mapping.weight_bits": 4}, 1, 1, 64),
        ({"mapping.weight_bits": 5}, 2, 2, 64),
        ({"mapping.weight_bits": 5, "mapping.signed_weights": "differential"}, 2, 1, 64),
        ({"mapping.signed_weights": "differential", "mapping.subtract": "analog"}, 4, 2, 32),
        ({"mapping.signed_weights": "offset_column", "device.bits": 1}, 8, 8, 64),
    ],
)
def test_cells_and_conversions_follow_from_the_precision(
    options: dict[str, Any], cells: int, slices: int, conversions: int
) -> None:
    chip = load_chip(ARCH / "rram64.yaml", options)
    assert (chip.cells_per_weight, chip.slices_per_weight) == (cells, slices)
    assert chip.conversions_per_read == conversions
    assert chip.conversions_per_adc == 8 * conversions // 64


def test_a_converter_of_an_odd_number_of_columns_serves_the_last_pair_too() -> None:
    options = [DIFFERENTIAL, "mapping.subtract=analog", "adc.columns_per_adc=7"]
    chip = load_chip(ARCH / "rram64.yaml", options)
    # 32 pairs, four for each converter: the last pair of seven columns is not cut in two.
    assert (chip.conversions_per_adc, chip.adcs_per_crossbar) == (4, 8)


def test_a_chip_written_out_is_the_same_chip(tmp_path: Path) -> None:
    for options in (
        ["crossbar.rows_per_read=8", "adc.range=fixed", "adc.step_levels=2.5"],
        ["mapping.row_order=flat", "mapping.weight_bits=6", "device.off_current=digital"],
        [],
    ):
        chip = load_chip(ARCH / "rram64.yaml", options)
        file = tmp_path / "chip.yaml"
        file.write_text(dump_chip(chip))
        assert load_chip(file) == chip
