from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.chip import chip_hash, dump_chip, load_chip, resolved
from tests.chip.files import ARCH, changed

RRAM64 = ARCH / "rram64.yaml"


def reloaded(text: str, folder: Path) -> Any:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_chip(path)


@pytest.mark.parametrize("name", ["rram64", "rram64_differential"])
def test_a_chip_that_is_written_and_loaded_is_the_same_chip(name: str, tmp_path: Path) -> None:
    chip = load_chip(ARCH / f"{name}.yaml")
    again = reloaded(dump_chip(chip), tmp_path)
    assert again == chip
    assert chip_hash(again) == chip_hash(chip)
    assert dump_chip(again) == dump_chip(chip)


def test_options_are_kept_in_what_is_written(tmp_path: Path) -> None:
    chip = load_chip(RRAM64, ["adc.bits=5", "technology.adder_bit_j=3e-15", "name=1e5x"])
    again = reloaded(dump_chip(chip), tmp_path)
    assert again == chip
    assert again.technology.adder_bit_j.value == 3e-15
    assert again.technology.adder_bit_j.source == "set on the command line"
    assert again.technology.name == "neurosim_32nm_lstp with 1 value changed"


@settings(max_examples=20)
@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
    resistance=st.floats(1, 1e12),
    energy=st.floats(0, 1),
)
def test_any_name_and_any_number_survive(
    name: str, resistance: float, energy: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    overrides = {
        "name": name,
        "device.r_on_ohm": resistance,
        "technology.link_bit_m_j": energy,
    }
    chip = load_chip(RRAM64, overrides)
    assert chip.technology.link_bit_m_j.value == energy
    assert reloaded(dump_chip(chip), tmp_path_factory.getbasetemp()) == chip


def test_everything_is_written_out_with_units_and_sources() -> None:
    chip = load_chip(RRAM64)
    data = resolved(chip)
    assert data == yaml.safe_load(dump_chip(chip))
    assert data["format"] == "imcsim-arch/1"
    assert data["crossbar"]["rows"] == 64
    assert data["technology"]["adder_bit_j"]["value"] == 2.02e-15
    assert data["technology"]["adder_bit_j"]["unit"] == "J"
    assert "NeuroSim V1.3" in data["technology"]["adder_bit_j"]["source"]
    assert data["technology"]["htree_bit_m_j"]["unit"] == "J/m"


def test_the_spelling_of_a_number_does_not_change_the_hash(tmp_path: Path) -> None:
    hashes = {
        chip_hash(load_chip(changed(tmp_path, ("r_on_ohm: 20e3", f"r_on_ohm: {text}"))))
        for text in ("20e3", "20000", "20000.0", "2.0E+4")
    }
    assert hashes == {chip_hash(load_chip(RRAM64))}
    assert len(hashes.pop()) == 64


@pytest.mark.parametrize(
    "option", ["adc.bits=7", "device.variation=0.1", "technology.adder_bit_j=3e-15", "name=other"]
)
def test_every_change_changes_the_hash(option: str) -> None:
    assert chip_hash(load_chip(RRAM64, [option])) != chip_hash(load_chip(RRAM64))


def test_a_chip_that_extends_has_the_hash_of_the_same_chip_in_one_file(tmp_path: Path) -> None:
    changed(tmp_path)
    path = tmp_path / "child.yaml"
    path.write_text("format: imcsim-arch/1\nextends: chip.yaml\nadc: {bits: 5}\n")
    assert chip_hash(load_chip(path)) == chip_hash(load_chip(RRAM64, ["adc.bits=5"]))
