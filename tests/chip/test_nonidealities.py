from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from imcsim.chip.nonidealities import (
    NON_IDEALITIES,
    WAN_2022_1S,
    Drift,
    NonIdeality,
    Programming,
    nonideality_conflicts,
)
from imcsim.config.layout import Section
from imcsim.config.yaml_positions import read_document

ENTRIES: TypeAdapter[tuple[NonIdeality, ...]] = TypeAdapter(tuple[NonIdeality, ...])

EVERYTHING = """
- {model: programming, spread: proportional, sigma: 0.2}
- {model: program_verify, tolerance: 0.05, attempts: 8}
- {model: stuck_at, on: 0.001, off: 0.002}
- {model: drift, time_s: 3600.0, law: relaxation}
- {model: temperature, kelvin: 350.0, resistance_per_kelvin: 0.001, activation_ev: 0.05}
- {model: wire_resistance, ohm_per_cell: 1.0, method: fast}
- {model: read_noise, sigma: 0.01}
- {model: input_noise, sigma: 0.01}
"""

PROGRAMMING = {"model": "programming", "spread": "proportional", "sigma": 0.2}
LEVELS = {"model": "programming", "spread": "level_dependent"}
VERIFY = {"model": "program_verify", "tolerance": 0.05, "attempts": 8}
RELAXATION = {"model": "drift", "time_s": 10.0, "law": "relaxation"}
POWER_LAW = {"model": "drift", "time_s": 10.0, "law": "power_law"}
WARM = {
    "model": "temperature",
    "kelvin": 350.0,
    "resistance_per_kelvin": 0.001,
    "activation_ev": 0.05,
}
WIRES = {"model": "wire_resistance", "ohm_per_cell": 1.0, "method": "fast"}


def entries(*data: dict[str, Any]) -> tuple[Section, ...]:
    return ENTRIES.validate_python(data)


def test_every_model_is_one_entry_of_a_yaml_list(tmp_path: Path) -> None:
    file = tmp_path / "cells.yaml"
    file.write_text("cells:" + EVERYTHING.replace("\n", "\n  "), "utf-8")
    read = entries(*read_document(str(file)).data["cells"])
    assert [entry.model for entry in read] == list(NON_IDEALITIES)  # type: ignore[attr-defined]
    assert [type(entry) for entry in read] == list(NON_IDEALITIES.values())
    assert list(nonideality_conflicts(read, ("device", "nonidealities"))) == []


def test_the_models_by_name_are_the_members_of_the_union() -> None:
    assert set(NON_IDEALITIES.values()) == set(get_args(get_args(NonIdeality)[0]))


@pytest.mark.parametrize(
    "entry", [PROGRAMMING, LEVELS, VERIFY, RELAXATION, POWER_LAW, WARM, WIRES], ids=str
)
def test_an_entry_written_out_reads_back_equal(entry: dict[str, Any]) -> None:
    read = entries(entry)[0]
    assert entries(read.model_dump())[0] == read
    section = NON_IDEALITIES[entry["model"]]
    assert section.model_validate(read.model_dump()) == read


@pytest.mark.parametrize(
    ("entry", "key", "kind"),
    [
        (PROGRAMMING | {"spread": "normal"}, "spread", "literal_error"),
        (PROGRAMMING | {"sigma": 1.5}, "sigma", "less_than_equal"),
        (PROGRAMMING | {"sigma": -0.1}, "sigma", "greater_than_equal"),
        (PROGRAMMING | {"sigma": float("nan")}, "sigma", "finite_number"),
        (PROGRAMMING | {"sigma": "20 %"}, "sigma", "float_type"),
        ({"model": "programming", "spread": "lognormal"}, "sigma", "missing"),
        (LEVELS | {"sigma": 0.2}, "sigma", "unfit"),
        (PROGRAMMING | {"sigma_coefficients": (0.1,)}, "sigma_coefficients", "unfit"),
        (LEVELS | {"sigma_coefficients": ()}, "sigma_coefficients", "too_short"),
        (LEVELS | {"granularity": "weight"}, "granularity", "unfit"),
        (PROGRAMMING | {"granularity": "cell"}, "granularity", "literal_error"),
        (PROGRAMMING | {"sgima": 0.2}, "sgima", "extra_forbidden"),
        (VERIFY | {"tolerance": 0.0}, "tolerance", "greater_than"),
        (VERIFY | {"attempts": 0}, "attempts", "greater_than_equal"),
        (VERIFY | {"attempts": 2.5}, "attempts", "int_type"),
        ({"model": "stuck_at", "on": 1.1, "off": 0.0}, "on", "less_than_equal"),
        ({"model": "stuck_at", "on": 0.6, "off": 0.5}, "off", "unfit"),
        ({"model": "stuck_at", "on": 0.6}, "off", "missing"),
        (RELAXATION | {"time_s": -1.0}, "time_s", "greater_than_equal"),
        (RELAXATION | {"law": "log"}, "law", "literal_error"),
        (RELAXATION | {"exponent": 0.05}, "exponent", "unfit"),
        (RELAXATION | {"exponent_sigma": 0.01}, "exponent_sigma", "unfit"),
        (RELAXATION | {"reference_s": 20.0}, "reference_s", "unfit"),
        (POWER_LAW | {"shift_per_efold": 0.0}, "shift_per_efold", "unfit"),
        (POWER_LAW | {"sigma_at_1s": 0.0}, "sigma_at_1s", "unfit"),
        (POWER_LAW | {"sigma_per_efold": 0.0}, "sigma_per_efold", "unfit"),
        (WARM | {"kelvin": 0.0}, "kelvin", "greater_than_equal"),
        (WARM | {"resistance_per_kelvin": -0.02}, "resistance_per_kelvin", "unfit"),
        ({"model": "temperature", "kelvin": 350.0, "activation_ev": 0.1}, "resistance_per_kelvin",
         "missing"),
        (WIRES | {"ohm_per_cell": -1.0}, "ohm_per_cell", "greater_than_equal"),
        (WIRES | {"method": "spice"}, "method", "literal_error"),
        (WIRES | {"activity": 0.1}, "activity", "unfit"),
        (WIRES | {"inactive_rows": "open"}, "activity", "missing"),
        (WIRES | {"method": "exact", "inactive_rows": "open"}, "inactive_rows", "unfit"),
        ({"model": "read_noise", "sigma": 2.0}, "sigma", "less_than_equal"),
        ({"model": "read_noise", "sigma": 0.1, "spread": "cell"}, "spread", "literal_error"),
        ({"model": "input_noise"}, "sigma", "missing"),
    ],
    ids=str,
)  # fmt: skip
def test_a_fault_is_found_at_its_key(entry: dict[str, Any], key: str, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entries({"model": "read_noise", "sigma": 0.0}, entry)
    found = [(error["loc"], error["type"]) for error in caught.value.errors()]
    assert ((1, entry["model"], key), kind) in found
    with pytest.raises(ValidationError) as caught:
        NON_IDEALITIES[entry["model"]].model_validate(entry)
    assert ((key,), kind) in [(error["loc"], error["type"]) for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [({"model": "aging"}, "union_tag_invalid"), ({"sigma": 0.2}, "union_tag_not_found")],
    ids=str,
)
def test_an_entry_without_a_known_model_is_refused(entry: dict[str, Any], kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entries(entry)
    assert [error["type"] for error in caught.value.errors()] == [kind]


def test_values_that_a_spread_or_law_does_not_use_stay_empty_and_the_others_are_cited() -> None:
    levels, relaxation, power_law = entries(LEVELS, RELAXATION, POWER_LAW)
    assert isinstance(levels, Programming)
    assert (levels.sigma, levels.sigma_coefficients) == (None, WAN_2022_1S)
    assert isinstance(relaxation, Drift)
    # −0.089 µS per e-fold of 88.2 µS
    assert relaxation.shift_per_efold == pytest.approx(-1.009e-3, rel=1e-3)
    assert (relaxation.exponent, relaxation.reference_s) == (None, None)
    assert isinstance(power_law, Drift)
    assert (power_law.exponent, power_law.reference_s) == (0.049, 20.0)
    assert power_law.sigma_at_1s is None


def conflicts(*data: dict[str, Any]) -> list[tuple[Any, str]]:
    found = nonideality_conflicts(entries(*data), ("device", "nonidealities"))
    return [(conflict.keys[0], conflict.message) for conflict in found]


def test_a_model_may_stand_only_once() -> None:
    assert conflicts(PROGRAMMING, WARM, LEVELS) == [
        (
            ("device", "nonidealities", 2, "model"),
            "must be another one than in entry 0: programming",
        )
    ]


def test_verification_needs_programming_of_cells() -> None:
    at = ("device", "nonidealities", 0, "model")
    alone = "must stand beside an entry with model programming"
    assert conflicts(VERIFY) == [(at, alone)]
    weights = "must stand beside programming with granularity device"
    assert conflicts(VERIFY, PROGRAMMING | {"granularity": "weight"}) == [(at, weights)]
    assert conflicts(VERIFY, PROGRAMMING) == []


def test_entries_at_fault_cause_no_further_conflicts() -> None:
    verify = entries(VERIFY)[0]
    assert list(nonideality_conflicts([None, verify], ("device", "nonidealities"))) == []


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        entries(PROGRAMMING)[0].sigma = 0.1  # type: ignore[attr-defined]
