"""``device.nonidealities`` in a file and in options."""

from __future__ import annotations

from pathlib import Path

import pytest

from imcsim.chip import chip_hash, dump_chip, load_chip
from imcsim.chip.nonidealities import Programming, ReadNoise
from imcsim.errors import ArchError, UsageError
from tests.chip.files import ARCH
from tests.chip.test_nonidealities import EVERYTHING

RRAM64 = ARCH / "rram64.yaml"
LIST = "device.nonidealities="
READ_NOISE = "{model: read_noise, sigma: 0.01}"
PROGRAMMING = "{model: programming, spread: lognormal, sigma: 0.1}"
VERIFY = "{model: program_verify, tolerance: 0.1, attempts: 3}"


def file_with(folder: Path, *entries: str) -> Path:
    path = folder / "chip.yaml"
    lines = "".join(f"\n  - {entry}" for entry in entries)
    path.write_text(
        f"format: imcsim-arch/1\nextends: {RRAM64}\ndevice:\n  variation: 0\n"
        f"  nonidealities:{lines}\n"
    )
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(ArchError) as caught:
        load_chip(path)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.faults]


def option_fault(*options: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_chip(RRAM64, options)
    return str(caught.value)


def everything() -> list[str]:
    return [line.removeprefix("- ") for line in EVERYTHING.strip().splitlines()]


def test_a_chip_without_the_list_has_variation_only() -> None:
    chip = load_chip(RRAM64)
    assert chip.device.nonidealities == ()
    assert chip.device.models == (
        Programming(model="programming", spread="proportional", sigma=0.2, granularity="weight"),
    )
    assert load_chip(RRAM64, ["device.variation=0"]).device.models == ()


def test_a_chip_with_every_model_is_written_out_and_read_back(tmp_path: Path) -> None:
    chip = load_chip(file_with(tmp_path, *everything()))
    assert len(chip.device.nonidealities) == 8
    again = tmp_path / "again.yaml"
    again.write_text(dump_chip(chip))
    assert load_chip(again) == chip
    assert chip_hash(load_chip(again)) == chip_hash(chip)


def test_the_hash_of_a_chip_knows_its_list() -> None:
    chips = [
        load_chip(RRAM64, options)
        for options in ([], [LIST + "[]"], [f"{LIST}[{READ_NOISE}]"],
                        [f"{LIST}[{READ_NOISE}]", "device.nonidealities.0.sigma=0.02"])
    ]  # fmt: skip
    hashes = [chip_hash(chip) for chip in chips]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_options_give_the_list_or_change_an_entry(tmp_path: Path) -> None:
    path = file_with(tmp_path, READ_NOISE, PROGRAMMING)
    chip = load_chip(path, ["device.nonidealities.0.sigma=0.3"])
    noise = chip.device.nonidealities[0]
    assert isinstance(noise, ReadNoise)
    assert noise.sigma == 0.3
    assert load_chip(path, [LIST + "[]"]).device.nonidealities == ()
    given = {"device.nonidealities": [{"model": "read_noise", "sigma": 0.3}]}
    assert load_chip(path, given).device.nonidealities == (noise,)


def test_faults_of_entries_stand_where_they_are(tmp_path: Path) -> None:
    path = file_with(
        tmp_path,
        "{model: read_noise, sigma: 0.01}",
        "{model: input_noise, sigma: 2}",
        "{model: read_nosie, sigma: 0.1}",
        "{model: stuck_at, on: 0.1}",
        "{model: wire_resistance, ohm_per_cell: 1, method: fast, activity: 0.5}",
    )
    names = (
        "programming, program_verify, stuck_at, drift, temperature, wire_resistance, read_noise,"
        " input_noise"
    )
    assert faults(path) == [
        "chip.yaml:7:33: device.nonidealities[1].sigma: must be a number from 0 to 1 (got 2)",
        f"chip.yaml:8:13: device.nonidealities[2].model: must be one of {names}"
        " (got 'read_nosie'); did you mean read_noise?",
        "chip.yaml:9:5: device.nonidealities[3].off: missing; wanted is a number from 0 to 1",
        "chip.yaml:10:71: device.nonidealities[4].activity: has no effect with inactive_rows"
        " grounded; it belongs to inactive_rows open",
    ]


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([READ_NOISE, READ_NOISE], "7:13: device.nonidealities[1].model: must be another one than"
         " in entry 0: read_noise"),
        ([VERIFY], "6:13: device.nonidealities[0].model: must stand beside an entry with model"
         " programming"),
    ],
)  # fmt: skip
def test_entries_that_do_not_go_together_are_one_line(
    entries: list[str], fault: str, tmp_path: Path
) -> None:
    assert faults(file_with(tmp_path, *entries)) == [f"chip.yaml:{fault}"]


def test_variation_and_programming_are_one_too_many(tmp_path: Path) -> None:
    option = f"{LIST}[{PROGRAMMING}]"
    assert option_fault(option) == (
        f"--set {option}: device.variation then must be 0 with device.nonidealities[0], model"
        " programming (got 0.2)"
    )
    path = file_with(tmp_path, READ_NOISE, PROGRAMMING)
    path.write_text(path.read_text().replace("variation: 0", "variation: 0.1"))
    assert faults(path) == [
        "chip.yaml:4:14: device.variation: must be 0 with device.nonidealities[1], model"
        " programming (got 0.1)"
    ]


def test_verification_takes_variation_for_programming() -> None:
    chip = load_chip(RRAM64, [f"{LIST}[{VERIFY}]", "device.variation_model=device"])
    assert [model.model for model in chip.device.models] == ["program_verify", "programming"]
    option = f"{LIST}[{VERIFY}]"
    assert option_fault(option) == (
        f"--set {option}: device.nonidealities[0].model: must stand beside programming with"
        " granularity device"
    )


def test_given_conductances_are_made_already(tmp_path: Path) -> None:
    (tmp_path / "cells.npz").write_bytes(b"")
    path = file_with(tmp_path, *everything())
    path.write_text(path.read_text() + "  conductances: cells.npz\n")
    found = faults(path)
    assert [line.split(": ")[1] for line in found] == [
        f"device.nonidealities[{i}].model" for i in range(6)
    ]
    assert found[2].endswith(
        "stuck_at has no effect with device.conductances: they hold what a chip is made with"
    )
