"""The architecture files that come with imcsim."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imcsim.chip import load_chip
from tests.chip.files import ARCH


def test_rram64_holds_every_value_of_table_1() -> None:
    """Table I of Li et al., DAC 2023."""
    chip = load_chip(ARCH / "rram64.yaml")
    assert (chip.crossbar.rows, chip.crossbar.cols) == (64, 64)
    assert chip.tile.pes * chip.pe.crossbars == 64
    assert (chip.device.type, chip.device.bits, chip.device.variation) == ("rram", 4, 0.2)
    assert (chip.device.r_on_ohm, chip.device.on_off_ratio) == (20e3, 10)
    buffers = chip.chip.global_buffer_bytes, chip.tile.buffer_bytes, chip.pe.buffer_bytes
    assert buffers == (20 * 1024, 10 * 1024, 5 * 1024)
    assert (chip.chip.vdd_v, chip.crossbar.read_v) == (0.9, 0.1)
    luts = chip.sigma_e.sigma_lut_bytes, chip.sigma_e.entropy_lut_bytes
    assert luts == (3 * 1024, 3 * 1024)
    assert "32nm" in chip.technology.name


def test_rram64_processes_timesteps_one_after_the_other_as_section_3_says() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    assert chip.dataflow.timesteps == "sequential"
    assert chip.device.variation_model == "weight"


def test_the_memories_outside_table_1_hold_vgg16() -> None:
    chip = load_chip(ARCH / "rram64.yaml")
    assert chip.lif.membrane_memory_bytes >= 276_480 * chip.lif.membrane_bits / 8
    assert chip.dataflow.current_memory_bytes >= 65_536 * 16 / 8


def test_the_differential_chip_differs_in_signs_mesh_and_adc_only() -> None:
    plain, differential = (
        load_chip(ARCH / f"{name}.yaml").model_dump() for name in ("rram64", "rram64_differential")
    )
    different = {
        f"{section}.{key}" if isinstance(value, dict) else section
        for section, value in plain.items()
        for key in (value if isinstance(value, dict) else [""])
        if (value[key] if key else value)
        != (differential[section][key] if key else differential[section])
    }
    assert different == {
        "name", "description", "mapping.signed_weights", "chip.mesh_columns", "chip.mesh_rows",
        "adc.bits", "adc.percentile",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(ARCH.glob("*.yaml")), ids=lambda path: path.name)
def test_every_number_says_where_it_is_from(path: Path) -> None:
    load_chip(path)
    for line in path.read_text().splitlines():
        if re.match(r"\s+\w+: [-+.\d]", line):
            assert re.search(r"# (Table I|Sec\. |assumed: )", line), line
