"""Where a result comes from."""

from __future__ import annotations

import datetime
import hashlib
import json
import sys

import pytest

import imcsim
from imcsim.chip import chip_hash
from imcsim.results import provenance
from imcsim.results.provenance import command_line, provenance_of, run_name
from tests.simulator.digits import DIGITS, chip, digits


def test_versions_hashes_and_the_machine_are_noted() -> None:
    found = provenance_of(chip(), digits(), ["imcsim", "run"], wall_s=1.5, seed=3)
    json.dumps(found, allow_nan=False)
    assert found["versions"]["imcsim"] == imcsim.__version__
    assert found["versions"]["numpy"] == sys.modules["numpy"].__version__
    assert found["workload"]["sha256"] == hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert found["arch"] == {"name": "rram64", "sha256": chip_hash(chip())}
    assert found["wall_s"] == 1.5
    assert found["seed"] == 3
    finished = datetime.datetime.fromisoformat(found["finished"])
    assert finished.tzinfo is not None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package-of-this-name",))
    versions = provenance_of(chip(), digits(), [], 0.0, 0)["versions"]
    assert versions["no-such-package-of-this-name"] is None


def test_the_command_is_noted_without_the_path_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/imcsim", "run", "a.yaml"])
    assert command_line() == ["imcsim", "run", "a.yaml"]


def test_run_names_sort_by_time_and_do_not_meet() -> None:
    names = [run_name(chip(), digits()) for _ in range(20)]
    assert names == sorted(names)
    assert len(set(names)) == 20
    assert names[0].endswith(f"_rram64_digits_{chip_hash(chip())[:8]}")


def test_a_name_with_odd_characters_makes_a_plain_directory() -> None:
    odd = chip().model_copy(update={"name": "my/chip: v2"})
    assert "_my-chip--v2_" in run_name(odd, digits())
