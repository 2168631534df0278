"""What is in a file, before anything runs."""

from __future__ import annotations

import re

import pytest

from imcsim.energy import price_chip
from imcsim.report.inspection import print_chip, print_mapping, print_workload
from imcsim.units import eng
from tests.simulator.digits import chip, digits
from tests.small_networks import max_pool_network, random_workload


def rows(text: str) -> dict[str, list[str]]:
    """Cells by the first one of each line; no line may end in spaces."""
    lines = text.split("\n")
    assert [line for line in lines if line != line.rstrip()] == []
    split = [re.split(r" {2,}", line) for line in lines if line]
    return {first: rest for first, *rest in split}


def test_a_chip_shows_what_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    print_chip(chip())
    text = capsys.readouterr().out
    found, bill = rows(text), price_chip(chip(), 10)
    assert "121 tiles (11 × 11)" in text
    assert "7,744 crossbars of 64 × 64 cells" in text
    assert found["ADCs"] == [eng(bill.area_m2["adc"], "m2")]
    assert "the SAR fit has none" in text
    assert "0 W" not in found["LIF neurons"]
    total = [eng(sum(bill.area_m2.values()), "m2"), eng(sum(bill.leakage_w.values()), "W")]
    assert found["total"] == total


def test_a_chip_for_few_classes_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    print_chip(chip("sigma_e.fifo_depth=2"))
    assert "rram64: 121 tiles" in capsys.readouterr().out


def test_a_workload_shows_its_layers_and_thresholds(capsys: pytest.CaptureFixture[str]) -> None:
    print_workload(digits())
    text = capsys.readouterr().out
    found = rows(text)
    assert text.startswith("digits: 4 timesteps, 10 classes, images 1×8×8 (direct encoding)\n")
    assert found["conv2"] == ["conv", "16×4×4", "32×4×4", "3", "4,608", "512"]
    assert found["pool1"][0] == "avg pool"
    theta = digits().theta["entropy"]["sum"]
    assert f"sum {theta:.4g} (default)" in text
    assert text.count("(default)") == 1
    assert "recorded when the workload was made" in text
    assert "{" not in text


def test_a_workload_without_records_shows_no_heading_for_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_workload(random_workload(max_pool_network(), theta={}))
    text = capsys.readouterr().out
    assert "θ" not in text
    assert "recorded" not in text


def test_thresholds_by_timestep_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_workload(random_workload(max_pool_network(), accuracies={"a": {"b": {"c": [0.5, 1]}}}))
    text = capsys.readouterr().out
    assert "  entropy: sum 0.3 (default), mean 0.2 0.2 0.2\n" in text
    assert "  a b: c 0.5 1\n" in text


def test_a_mapping_shows_crossbars_tiles_and_reads(capsys: pytest.CaptureFixture[str]) -> None:
    print_mapping(chip(), digits())
    text = capsys.readouterr().out
    found = rows(text)
    # conv2: 144 rows in 3 blocks of 64, 32 outputs × 2 cells = 64 columns; 4 × 4 windows, 3 bits.
    assert found["conv2"][:8] == ["144 × 32", "3", "1", "3", "1", "1", "1", "16"]
    assert found["conv2"][8:11] == ["3", "48", "144"]
    assert found["total"][:5] == ["6", "3", "3", "114", "662"]
    assert "3 of the chip's 121 tiles hold weights" in text
