from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imcsim.chip import Chip, load_chip
from imcsim.errors import ArchError, UsageError
from tests.chip.files import ARCH, RRAM64, changed, fault, faults, line_of

ROWS = "rows: 64"
BITS = "  bits: 4 "
R_ON = "r_on_ohm: 20e3"


def option_fault(*options: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_chip(ARCH / "rram64.yaml", options)
    return str(caught.value)


# Whole files


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert fault(tmp_path / "none.yaml") == "none.yaml: no such file"


def test_a_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "arch").mkdir()
    assert fault(tmp_path / "arch") == "arch: is a directory, not a file"


def test_an_empty_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text("")
    assert fault(path) == "chip.yaml: is empty; a YAML mapping (key: value) is wanted"


def test_a_tab_is_one_line(tmp_path: Path) -> None:
    path = changed(tmp_path, (f"  {ROWS}", f"\t{ROWS}"))
    line = line_of(path, ROWS)
    assert fault(path) == f"chip.yaml:{line}:1: a tab; YAML is indented with spaces"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, ("format: imcsim-arch/1", "format: imcsim-arch/9"))
    line = line_of(path, "format:")
    assert fault(path) == (
        f"chip.yaml:{line}:9: format: must be imcsim-arch/1 (got 'imcsim-arch/9')"
    )


def test_a_file_without_format_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path, ("format: imcsim-arch/1\n", ""))
    line = line_of(path, "name: rram64")
    assert fault(path) == f"chip.yaml:{line}:1: format: missing; write format: imcsim-arch/1"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("format: imcsim-arch/9", "9: format: must be imcsim-arch/1 (got 'imcsim-arch/9')"),
        ("format: imcsim-run/1", "9: format: this is the configuration of a run, not an"
         " architecture"),
        ("name: x", "1: format: missing; write format: imcsim-arch/1"),
    ],
)  # fmt: skip
def test_of_a_file_of_another_kind_nothing_else_is_reported(
    tmp_path: Path, head: str, message: str
) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(f"{head}\nseed: 1\nseed: 2\n")
    assert fault(path) == f"chip.yaml:1:{message}"


@pytest.mark.parametrize("key", ["name", "description"])
@pytest.mark.parametrize("escape", [r"\e[31m", r"\a", r"\x7f", r"\x9b"])
def test_control_characters_are_refused(tmp_path: Path, key: str, escape: str) -> None:
    start = RRAM64.index(f"\n{key}: ") + 1
    path = changed(tmp_path, (RRAM64[start : RRAM64.index("\n", start)], f'{key}: "a{escape}"'))
    line = fault(path)
    assert f"{key}: must be text without control characters (got 'a\\x" in line
    assert line.isprintable()


def test_a_description_may_have_several_lines_but_not_a_name() -> None:
    rram64 = ARCH / "rram64.yaml"
    assert load_chip(rram64, {"description": "a\nb\n"}).description == "a\nb\n"
    with pytest.raises(UsageError, match=r"must be text without control characters"):
        load_chip(rram64, {"name": "a\nb"})


# Single values


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ROWS, "rows: sixty-four", "crossbar.rows: must be a whole number from 1 to 4096"
         " (got 'sixty-four')"),
        (ROWS, "rows: 64.0", "crossbar.rows: must be a whole number from 1 to 4096"
         " (got 64.0); write 64"),
        (ROWS, "rows: 2e1", "crossbar.rows: must be a whole number from 1 to 4096"
         " (got 2e1); write 20"),
        (ROWS, "rows: 64.5", "crossbar.rows: must be a whole number from 1 to 4096 (got 64.5)"),
        (ROWS, "rows: 1e300", "crossbar.rows: must be a whole number from 1 to 4096 (got 1e300)"),
        (ROWS, "rows: 1_000", "crossbar.rows: must be a whole number from 1 to 4096"
         " (got '1_000'); write 1000"),
        (ROWS, "rows: 64:1", "crossbar.rows: must be a whole number from 1 to 4096 (got '64:1')"),
        (ROWS, "rows: on", "crossbar.rows: must be a whole number from 1 to 4096 (got 'on')"),
        (ROWS, "rows: true", "crossbar.rows: must be a whole number from 1 to 4096 (got true)"),
        (ROWS, "rows: 0", "crossbar.rows: must be a whole number from 1 to 4096 (got 0)"),
        (ROWS, "rows: [64]", "crossbar.rows: must be a whole number from 1 to 4096 (got a list)"),
        (ROWS, "rows:", "crossbar.rows: must be a whole number from 1 to 4096 (got nothing)"),
        (R_ON, "r_on_ohm: 20 kOhm", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got '20 kOhm'); write 20e3"),
        (R_ON, "r_on_ohm: .nan", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got .nan)"),
        (R_ON, "r_on_ohm: nan", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got 'nan')"),
        (R_ON, "r_on_ohm: .inf", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got .inf)"),
        (R_ON, "r_on_ohm: 1e999", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got 1e999)"),
        (R_ON, "r_on_ohm: -20e3", "device.r_on_ohm: must be a number in Ω from 1 to 1e12"
         " (got -20e3)"),
        ("clock_hz: 500e6", "clock_hz: 500 MHz", "chip.clock_hz: must be a number in Hz"
         " from 1000 to 1e11 (got '500 MHz'); write 500e6"),
        ("buffer_bytes: 10240", "buffer_bytes: 10KB", "tile.buffer_bytes: must be a whole number"
         " of bytes from 1 to 1099511627776 (got '10KB'); write 10240"),
        ("variation: 0.2", "variation: 20", "device.variation: must be a number from 0 to 1"
         " (got 20)"),
        (" bits: 4 ", " bits: 9 ", "device.bits: must be a whole number from 1 to 8 (got 9)"),
        ("type: sar", "type: SAR", "adc.type: must be sar (got 'SAR'); did you mean sar?"),
        ("model: packet", "model: 5", "noc.model: must be packet (got 5)"),
        ("signed_weights: offset", "signed_weights: ofset", "mapping.signed_weights: must be one of"
         " offset, offset_column, differential (got 'ofset'); did you mean offset?"),
        ("word_bits: 16", "word_bits: 12", "sigma_e.word_bits: must be 16 (got 12)"),
        ("name: rram64", "name: 64", "name: must be text (got 64); put it in quotes"),
        ("name: rram64", "name: ''", "name: must be text (got '')"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_with_what_is_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, (old, new))
    line = line_of(ARCH / "rram64.yaml", old)
    # A scalar is blamed itself; what has no text of its own, through its key.
    key, _, value = new.strip().partition(": ")
    textless = value in ("", "''", "[64]")
    column = path.read_text().splitlines()[line - 1].index(key) + 1
    column += 0 if textless else len(f"{key}: ")
    assert fault(path) == f"chip.yaml:{line}:{column}: {message}"


def test_a_very_long_value_is_cut(tmp_path: Path) -> None:
    path = changed(tmp_path, (ROWS, f"rows: {'x' * 500}"))
    assert fault(path).endswith(f"(got '{'x' * 56}...)")


# Keys


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock_hz", "clock_mhz", "chip.clock_mhz: unknown key; did you mean clock_hz?"),
        ("r_on_ohm", "r_on_kohm", "device.r_on_kohm: unknown key; did you mean r_on_ohm?"),
        ("columns_per_adc", "colums_per_adc", "adc.colums_per_adc: unknown key; did you mean"
         " columns_per_adc?"),
        ("device:", "devices:", "devices: unknown key; did you mean device?"),
        ("name:", "Name:", "Name: unknown key; did you mean name?"),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_reported_once_with_the_right_one(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = changed(tmp_path, (f"\n{old}" if old.endswith(":") else f" {old}:",
                              f"\n{new}" if new.endswith(":") else f" {new}:"))  # fmt: skip
    line = line_of(path, new)
    column = path.read_text().splitlines()[line - 1].index(new) + 1
    assert fault(path) == f"chip.yaml:{line}:{column}: {message}"


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("adc.bits: 5", "adc.bits: unknown key; write bits below adc:"),
        ("percentile: 5", "percentile: unknown key; did you mean adc.percentile?"),
        ("qqq: 5", "qqq: unknown key; allowed are format, name, description, extends, technology,"
         " chip, tile, pe, crossbar, device, adc, mapping, lif, noc, sigma_e, dataflow,"
         " correction"),
    ],
)  # fmt: skip
def test_an_unknown_key_of_the_top_level_is_reported(
    tmp_path: Path, new: str, message: str
) -> None:
    path = changed(tmp_path, ("\nname: rram64", f"\n{new}\nname: rram64"))
    assert fault(path) == f"chip.yaml:{line_of(path, new)}:1: {message}"


def test_a_key_of_another_section_is_pointed_there(tmp_path: Path) -> None:
    path = changed(tmp_path, (f"  {ROWS}", f"  columns_per_adc: 8\n  {ROWS}"))
    assert fault(path).endswith(
        "crossbar.columns_per_adc: unknown key; did you mean adc.columns_per_adc?"
    )


def test_an_unknown_key_like_no_other_is_reported_with_all_of_the_section(tmp_path: Path) -> None:
    path = changed(tmp_path, (f"  {ROWS}", f"  qqq: 8\n  {ROWS}"))
    assert fault(path).endswith(
        "crossbar.qqq: unknown key; crossbar has rows, cols, read_v, settle_s, skip, rows_per_read"
    )


def test_a_missing_key_lies_at_its_section(tmp_path: Path) -> None:
    path = changed(tmp_path, ("  settle_s: 3.24e-9", "  # settle_s: 3.24e-9"))
    assert fault(path) == (
        f"chip.yaml:{line_of(path, 'crossbar:')}:1: crossbar.settle_s: missing;"
        " wanted is a number in s above 0 and at most 1"
    )


def test_a_missing_section_lies_at_the_top(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(RRAM64[: RRAM64.index("dataflow:")])
    assert fault(path) == (
        f"chip.yaml:{line_of(path, 'format:')}:1: dataflow: missing section with layers, timesteps,"
        " first_layer, current_memory_bytes"
    )


def test_a_section_that_is_a_value_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(RRAM64[: RRAM64.index("dataflow:")] + "dataflow: fast\n")
    assert fault(path) == (
        f"chip.yaml:{line_of(path, 'dataflow: fast')}:1: dataflow: must be a section with layers,"
        " timesteps, first_layer, current_memory_bytes (got 'fast')"
    )


def test_an_equal_key_is_refused_with_both_positions(tmp_path: Path) -> None:
    path = changed(tmp_path, (f"  {ROWS}", f"  {ROWS}\n  rows: 32"))
    first = line_of(path, ROWS)
    assert fault(path) == (
        f"chip.yaml:{first + 1}:3: crossbar.rows: duplicate key; first at chip.yaml:{first}:3"
    )


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(
        "format: imcsim-arch/1\n"
        "name: bad\n"
        "technology: {base: neurosim_32nm_lstp, adder_bit_j: {value: -1, unit: pj}}\n"
        "chip: {clock_hz: 1 GHz, vdd_v: 0.9, mesh_columns: 2, mesh_rows: 2,\n"
        "  global_buffer_bytes: 1, accumulation: home_tile, io_bits: 64}\n"
        "tile: &level {pes: 4, buffer_bytes: 1, htree_bits: 1, accumulator_lanes: 1}\n"
        "pe: {<<: *level, crossbars: 4}\n"
        "crossbar: {rows: 64, cols: 4, read_v: 1.1, settle_s: 2e-9, skip: none}\n"
        "device: {type: rrma, bits: 4, r_on_ohm: 20e3, on_off_ratio: 10, variation: 0,\n"
        "  variation_model: weight}\n"
        "adc: {type: sar, bitz: 4, columns_per_adc: 8, percentile: 100, calibration_images: 1,\n"
        "  bitz: 5}\n"
    )
    assert faults(path, ["noc.modle=packet"]) == [
        "chip.yaml:1:1: mapping: missing section with signed_weights, row_order,"
        " subtract, weight_bits, slices",
        "chip.yaml:1:1: lif: missing section with membrane_bits, membrane_memory_bytes, lanes",
        "chip.yaml:1:1: noc: missing section with model, flit_bits, router_cycles",
        "chip.yaml:1:1: sigma_e: missing section with sigma_lut_bytes, entropy_lut_bytes,"
        " word_bits, fifo_depth, lut_s",
        "chip.yaml:1:1: dataflow: missing section with layers, timesteps, first_layer,"
        " current_memory_bytes",
        "chip.yaml:3:40: technology.adder_bit_j.source: missing",
        "chip.yaml:3:61: technology.adder_bit_j.value: must not be negative (got -1)",
        "chip.yaml:3:71: technology.adder_bit_j.unit: must be one of J, mJ, uJ, nJ, pJ, fJ, aJ"
        " (got 'pj'); did you mean pJ?",
        "chip.yaml:4:18: chip.clock_hz: must be a number in Hz from 1000 to 1e11"
        " (got '1 GHz'); write 1e9",
        "chip.yaml:6:15: pe.pes: unknown key; did you mean tile.pes?",
        "chip.yaml:9:16: device.type: must be rram (got 'rrma'); did you mean rram?",
        "chip.yaml:11:18: adc.bitz: unknown key; did you mean bits?",
        "chip.yaml:12:3: adc.bitz: duplicate key; first at chip.yaml:11:18",
        "--set noc.modle=packet: unknown key; did you mean noc.model?",
    ]


# Values that are wrong together


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("columns_per_adc: 8", "columns_per_adc: 65",
         "adc.columns_per_adc: must be at most crossbar.cols, 64 (got 65)"),
        ("vdd_v: 0.9", "vdd_v: 0.5", "chip.vdd_v: must be 0.9, the supply voltage of technology"
         " neurosim_32nm_lstp (got 0.5): its values are not scaled to other voltages"),
        ("read_v: 0.1", "read_v: 1.0", "crossbar.read_v: must be at most chip.vdd_v, 0.9 (got 1)"),
    ],
)  # fmt: skip
def test_sections_must_agree(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = changed(tmp_path, (old, new))
    column = 3 + new.index(" ") + 1
    assert fault(path) == f"chip.yaml:{line_of(path, new)}:{column}: {message}"


@pytest.mark.parametrize(
    ("bits", "signs", "cells"),
    [(4, "offset", 2), (3, "offset", 3), (8, "offset", 1), (1, "offset", 8),
     (4, "differential", 4), (8, "differential", 2), (1, "differential", 14)],
)  # fmt: skip
def test_a_crossbar_holds_at_least_one_weight(
    tmp_path: Path, bits: int, signs: str, cells: int
) -> None:
    settings = {"device.bits": bits, "mapping.signed_weights": signs, "adc.columns_per_adc": 1}
    chip = load_chip(ARCH / "rram64.yaml", {**settings, "crossbar.cols": cells})
    assert chip.cells_per_weight == cells
    path = changed(
        tmp_path,
        ("cols: 64", f"cols: {max(cells - 1, 1)}"),
        (BITS, f"  bits: {bits} "),
        ("signed_weights: offset", f"signed_weights: {signs}"),
        ("columns_per_adc: 8", "columns_per_adc: 1"),
    )
    if cells > 1:
        assert fault(path).endswith(
            f"crossbar.cols: must be at least {cells}, the cells of one 8-bit weight with"
            f" device.bits {bits} and mapping.signed_weights {signs} (got {cells - 1})"
        )


def test_an_option_is_blamed_for_the_conflict_it_causes() -> None:
    assert option_fault("adc.columns_per_adc=65") == (
        "--set adc.columns_per_adc=65: must be at most crossbar.cols, 64 (got 65)"
    )
    assert option_fault("crossbar.cols=4") == (
        "--set crossbar.cols=4: adc.columns_per_adc then must be at most crossbar.cols, 4 (got 8)"
    )


def test_options_are_put_in_before_sections_are_compared() -> None:
    options = ["crossbar.cols=4", "adc.columns_per_adc=4"]
    assert load_chip(ARCH / "rram64.yaml", options).adcs_per_crossbar == 1


def test_a_chip_built_in_python_obeys_the_same_rules() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    adc = chip.adc.model_copy(update={"columns_per_adc": 65})
    with pytest.raises(
        ValueError, match=r"adc\.columns_per_adc: must be at most crossbar.cols, 64"
    ):
        Chip.model_validate({**vars(chip), "adc": adc})


# Options


def test_options_replace_values_of_the_file() -> None:
    options = ["adc.bits=5", "device.r_on_ohm=1e4", "adc.bits = 6", "name='9'", "description=x y"]
    chip = load_chip(ARCH / "rram64.yaml", options)
    assert (chip.adc.bits, chip.device.r_on_ohm, chip.name) == (6, 1e4, "9")
    assert chip.description == "x y"


def test_options_may_come_as_python_values() -> None:
    chip = load_chip(ARCH / "rram64.yaml", {"adc.bits": 5, "device.variation": 0})
    assert (chip.adc.bits, chip.device.variation) == (5, 0.0)
    with pytest.raises(UsageError, match=r"^--set adc.bits=99: must be a whole number from 1 to"):
        load_chip(ARCH / "rram64.yaml", {"adc.bits": 99})


def test_options_may_come_as_numpy_scalars() -> None:
    overrides = {
        "adc.bits": np.int64(5),
        "device.variation": np.float32(0.5),
        "technology.adder_bit_j": {"value": np.float64(3), "unit": "fJ", "source": "lab"},
    }
    chip = load_chip(ARCH / "rram64.yaml", overrides)
    assert (chip.adc.bits, chip.device.variation) == (5, 0.5)
    assert chip.technology.adder_bit_j.value == 3e-15
    with pytest.raises(UsageError, match=r"^--set adc.bits=99: must be a whole number from 1 to"):
        load_chip(ARCH / "rram64.yaml", {"adc.bits": np.int64(99)})
    with pytest.raises(UsageError, match=r"adc.bits=.*must be a whole number"):
        load_chip(ARCH / "rram64.yaml", {"adc.bits": np.array([5])})


def test_one_option_need_not_be_in_a_list() -> None:
    assert load_chip(ARCH / "rram64.yaml", "adc.bits=5").adc.bits == 5


def test_an_option_can_give_what_the_file_misses(tmp_path: Path) -> None:
    path = changed(tmp_path, ("  settle_s: 3.24e-9", "  # settle_s: 3.24e-9"))
    assert load_chip(path, ["crossbar.settle_s=3e-9"]).crossbar.settle_s == 3e-9


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("adc.bitz=5", "unknown key; did you mean adc.bits?"),
        ("adcc.percentile=5", "unknown key; did you mean adc.percentile?"),
        ("columns_per_adc=5", "unknown key; did you mean adc.columns_per_adc?"),
        ("bits=5", "unknown key; did you mean device.bits or adc.bits?"),
        ("adc.bits.high=5", "unknown key; did you mean adc.bits?"),
        ("qqqqqq=5", "unknown key"),
        ("adc=5", "a section, not a key; its keys are type, bits, columns_per_adc, percentile,"
         " calibration_images, range, step_levels, rounding, offset_sigma_levels, gain_sigma,"
         " noise_sigma_levels"),
        ("adc.bits", "must look like KEY=VALUE, for example adc.bits=5"),
        ("=5", "must look like KEY=VALUE, for example adc.bits=5"),
        ("adc.bits=", "must be a whole number from 1 to 12 (got nothing)"),
        ("adc.bits=99", "must be a whole number from 1 to 12 (got 99)"),
        ("adc.bits=5.0", "must be a whole number from 1 to 12 (got 5.0); write 5"),
        ("adc.bits=" + "9" * 200, "a whole number with more than 100 digits"),
        ("device.r_on_ohm=20k", "must be a number in Ω from 1 to 1e12 (got '20k')"),
        ("device.r_on_ohm=.inf", "must be a number in Ω from 1 to 1e12 (got inf)"),
        ("device.variation_model=wieght", "must be one of weight, device (got 'wieght');"
         " did you mean weight?"),
        ("technology.adder_j=1", "unknown key; did you mean technology.adder_bit_j?"),
        ("technology.adder_bit_j=-1", "must not be negative (got -1)"),
        ("technology.adder_bit_j=3 fJ", "must be a number in J (got '3 fJ')"),
        ("technology=neurosim_32nm_lst", "must be one of neurosim_32nm_lstp or a path"
         " (got 'neurosim_32nm_lst'); did you mean neurosim_32nm_lstp?"),
        ("technology.adder_bit_j=1e304", "must be at most 1 J (got 1e+304)"),
        ("technology.sar_time_per_bit_s=1e6", "must be at most 1 s (got 1000000.0)"),
        ("technology=none.yaml", "none.yaml: no such file"),
        ("chip.clock_hz=1e-300", "must be a number in Hz from 1000 to 1e11 (got 1e-300)"),
        ("device.r_on_ohm=1e-300", "must be a number in Ω from 1 to 1e12 (got 1e-300)"),
        ("device.on_off_ratio=1e10", "must be a number above 1 and at most 1e9"
         " (got 10000000000.0)"),
        ("chip.mesh_columns=1048576", "must be a whole number from 1 to 1024 (got 1048576)"),
        ("chip.mesh_rows=1025", "must be a whole number from 1 to 1024 (got 1025)"),
        ("chip.vdd_v=0.5", "must be 0.9, the supply voltage of technology neurosim_32nm_lstp"
         " (got 0.5): its values are not scaled to other voltages"),
        ("technology.supply_v=0.8", "chip.vdd_v then must be 0.8, the supply voltage of technology"
         " neurosim_32nm_lstp with 1 value changed (got 0.9): its values are not scaled to other"
         " voltages"),
        ("name=5", "must be text (got 5); put it in quotes"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_that_repeats_it(option: str, message: str) -> None:
    assert option_fault(option) == f"--set {option}: {message}"


def test_a_line_break_in_a_key_or_an_option_keeps_to_one_line(tmp_path: Path) -> None:
    assert option_fault("adc.bits=\n") == (
        "--set adc.bits= : must be a whole number from 1 to 12 (got nothing)"
    )
    path = changed(tmp_path, (f"  {ROWS}", f'  "a\\nb": 8\n  {ROWS}'))
    assert "crossbar.a b: unknown key" in fault(path)


def test_all_wrong_options_are_reported() -> None:
    assert option_fault("adc.bitz=5", "adc.bits=0").splitlines() == [
        "--set adc.bitz=5: unknown key; did you mean adc.bits?",
        "--set adc.bits=0: must be a whole number from 1 to 12 (got 0)",
    ]


def test_an_option_inside_a_section_that_is_none_leaves_the_file_at_fault(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(RRAM64[: RRAM64.index("dataflow:")] + "dataflow: fast\n")
    (line,) = faults(path, ["dataflow.layers=sequential"])
    assert "dataflow: must be a section" in line


# extends


def child(folder: Path, text: str, name: str = "child.yaml") -> Path:
    path = folder / name
    path.write_text("format: imcsim-arch/1\n" + text)
    return path


def test_a_file_that_extends_another_changes_only_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    changed(tmp_path)
    path = child(tmp_path / "sub", "extends: ../chip.yaml\nname: other\nadc:\n  bits: 5\n")
    base, chip = load_chip(tmp_path / "chip.yaml"), load_chip(path)
    assert chip.name == "other"
    assert chip.adc == base.adc.model_copy(update={"bits": 5})
    assert chip.device == base.device
    assert chip.technology == base.technology


def test_three_files_can_stand_on_each_other(tmp_path: Path) -> None:
    changed(tmp_path)
    child(tmp_path, "extends: chip.yaml\nadc: {bits: 5, percentile: 99}\n", "middle.yaml")
    chip = load_chip(child(tmp_path, "extends: middle.yaml\nadc: {bits: 6}\n"))
    assert (chip.adc.bits, chip.adc.percentile, chip.adc.columns_per_adc) == (6, 99, 8)


def test_faults_lie_in_the_file_that_says_the_value(tmp_path: Path) -> None:
    base = changed(tmp_path, (ROWS, "rows: 0"), ("type: rram ", "type: rrma "))
    path = child(tmp_path, "extends: chip.yaml\nadc:\n  bits: 99\n  bitz: 1\ndevice:\n  bits: 9\n")
    assert faults(path) == [
        "child.yaml:4:9: adc.bits: must be a whole number from 1 to 12 (got 99)",
        "child.yaml:5:3: adc.bitz: unknown key; did you mean bits?",
        "child.yaml:7:9: device.bits: must be a whole number from 1 to 8 (got 9)",
        f"chip.yaml:{line_of(base, 'rows: 0')}:9: crossbar.rows: must be a whole number"
        " from 1 to 4096 (got 0)",
        f"chip.yaml:{line_of(base, 'rrma')}:9: device.type: must be rram (got 'rrma');"
        " did you mean rram?",
    ]


def test_a_value_that_is_replaced_is_not_checked(tmp_path: Path) -> None:
    changed(tmp_path, (ROWS, "rows: 0"))
    path = child(tmp_path, "extends: chip.yaml\ncrossbar:\n  rows: 32\n")
    assert load_chip(path).crossbar.rows == 32


def test_a_conflict_across_files_lies_at_the_value_to_blame(tmp_path: Path) -> None:
    base = changed(tmp_path)
    path = child(tmp_path, "extends: chip.yaml\ncrossbar:\n  cols: 4\n")
    line = line_of(base, "columns_per_adc: 8")
    assert fault(path) == (
        f"chip.yaml:{line}:20: adc.columns_per_adc: must be at most crossbar.cols, 4 (got 8)"
    )


def test_a_base_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    path = child(tmp_path, "extends: nowhere.yaml\n")
    assert fault(path) == "child.yaml:2:10: extends: nowhere.yaml is no file"


def test_a_base_that_is_no_path_is_a_fault(tmp_path: Path) -> None:
    path = child(tmp_path, "extends: [a]\nqqq: 5\n")
    assert fault(path) == (
        "child.yaml:2:1: extends: must be the path of an architecture file (got a list)"
    )


def test_files_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    child(tmp_path, "extends: child.yaml\n", "other.yaml")
    path = child(tmp_path, "extends: other.yaml\n")
    assert fault(path) == (
        "other.yaml:2:10: extends: goes in a circle: child.yaml -> other.yaml -> child.yaml"
    )


def test_broken_syntax_in_a_base_is_reported_with_the_faults_before_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("a:\n\tb\n")
    path = child(tmp_path, "extends: base.yaml\nname: a\nname: b\n")
    assert faults(path) == [
        "base.yaml:2:1: a tab; YAML is indented with spaces",
        "child.yaml:4:1: name: duplicate key; first at child.yaml:3:1",
    ]


# What comes out


def test_a_chip_cannot_be_changed_and_travels_to_workers() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    with pytest.raises(ValueError, match="frozen"):
        chip.adc.bits = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(chip)) == chip


def test_the_error_travels_from_workers(tmp_path: Path) -> None:
    with pytest.raises(ArchError) as caught:
        load_chip(tmp_path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.faults == caught.value.faults
    assert again.exit_code == 3


def test_conductances_follow_from_the_resistances() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    assert chip.g_on_s == pytest.approx(50e-6)
    assert chip.g_off_s == pytest.approx(5e-6)
    assert chip.g_off_s + 15 * chip.level_s == pytest.approx(chip.g_on_s)
    assert chip.tiles == 121
    assert chip.adcs_per_crossbar == 8


def test_loading_a_chip_does_not_import_what_takes_long(tmp_path: Path) -> None:
    code = (
        "import sys, imcsim.chip;"
        "print([m for m in ('numba', 'numpy', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
