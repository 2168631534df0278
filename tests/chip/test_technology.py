from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from imcsim.chip import load_chip, load_technology, packaged_technologies
from imcsim.chip.technology.table import ENTRIES, si_unit, units_of
from imcsim.errors import ArchError
from tests.chip.files import ARCH, RRAM64, changed, fault, faults, line_of

NAME = "neurosim_32nm_lstp"
LINE = f"technology: {NAME} "


def with_technology(folder: Path, text: str) -> Path:
    """Rram64 with another ``technology``; `text` begins right after the colon."""
    start = RRAM64.index(LINE)
    end = RRAM64.index("\n", start)
    path = folder / "chip.yaml"
    path.write_text(RRAM64[:start] + f"technology:{text}" + RRAM64[end:])
    return path


def own_table(folder: Path, *changes: tuple[str, str]) -> Path:
    """A complete table: every entry is 2 of the second unit it may have, the supply 900 mV."""
    lines = ["format: imcsim-technology/1", "name: mine", "description: for tests"]
    lines += [f"{e}: {{value: 2, unit: {list(units_of(e))[1]}, source: s}}" for e in ENTRIES]
    text = "\n".join(lines).replace("supply_v: {value: 2,", "supply_v: {value: 900,") + "\n"
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def table_fault(path: Path) -> str:
    with pytest.raises(ArchError) as caught:
        load_technology(path)
    (line,) = caught.value.faults
    return line.replace(f"{path.parent}/", "")


def test_the_packaged_table_is_found_by_its_name() -> None:
    assert packaged_technologies() == (NAME,)
    table = load_technology(NAME)
    assert table.name == NAME
    assert table == load_chip(ARCH / "rram64.yaml").technology


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("input_switch_clock_j", 2.72e-15),
        ("column_mux_j", 0.822e-15),
        ("array_leakage_w", 1.84e-8),
        ("mux_decoder_m2", 17e-12),
        ("sar_time_per_bit_s", 1e-9),
        ("adder_bit_leakage_w", 0.22e-9),
        ("multiplier_8bit_j", 0.13e-12),
        ("pool_or_j", 1.8e-15),
        ("sram_read_bit_j", 8e-15),
        ("sram_bit_leakage_w", 5.77e-12),
        ("lut_read_j", 1.381e-12),
        ("htree_bit_m_j", 0.055e-12 / 1e-3),
        ("link_bit_m_j", 0.15e-12 / 1e-3),
        ("image_load_bit_j", 4e-12),
    ],
)
def test_values_are_converted_to_si(entry: str, value: float) -> None:
    assert getattr(load_technology(NAME), entry).value == pytest.approx(value, rel=1e-12)


def test_conversion_does_not_round_twice() -> None:
    assert load_technology(NAME).adder_bit_j.value == 2.02e-15


def test_values_per_cell_row_and_column_add_up_to_the_published_totals() -> None:
    """A 64×64 array in DNN+NeuroSim V1.3 and a 2 KB bank in V1.4, 32 nm LSTP."""
    table = load_technology(NAME)
    assert 64 * table.wordline_cell_j.value == pytest.approx(0.0133e-12)
    assert 4096 * table.array_cell_m2.value == pytest.approx(201e-12)
    assert 64 * table.input_switch_row_m2.value == pytest.approx((255 + 204) * 1e-12)
    assert 64 * table.column_mux_column_m2.value == pytest.approx(176e-12)
    assert 16384 * table.sram_bit_m2.value == pytest.approx(5515e-12)
    assert table.router_leakage_w.value == pytest.approx(11e-3 * 0.0507 / 49.7, rel=0.01)


@pytest.mark.parametrize(
    ("bits", "energy_j", "area_m2"),
    [(4, 0.0856e-12, 223.1e-12), (5, 0.1095e-12, 262.8e-12), (6, 0.1356e-12, 302.5e-12),
     (7, 0.164e-12, 342.1e-12), (8, 0.1947e-12, 381.8e-12)],
)  # fmt: skip
def test_the_sar_fit_gives_the_published_energies_and_areas(
    bits: int, energy_j: float, area_m2: float
) -> None:
    """DNN+NeuroSim V1.3 at V_read 0.1 V and a column of 0.227 mS."""
    t = load_technology(NAME)
    power = t.sar_power_base_w.value + bits * t.sar_power_per_bit_w.value
    power += t.sar_current_factor_v.value * 2 * 0.1 * 0.227e-3
    assert (bits + 1) * t.sar_time_per_bit_s.value * power == pytest.approx(energy_j, rel=0.01)
    area = t.sar_area_4bit_m2.value + (bits - 4) * t.sar_area_per_bit_m2.value
    assert area == pytest.approx(area_m2, rel=1e-3)


def test_every_packaged_value_names_its_source() -> None:
    table = load_technology(NAME)
    for entry in ENTRIES:
        source = getattr(table, entry).source
        assert any(word in source for word in ("NeuroSim", "ISAAC", "BookSim", "assumed")), entry


def test_every_entry_has_a_unit_by_its_name() -> None:
    assert {si_unit(entry) for entry in ENTRIES} == {"J", "J/m", "W", "m2", "s", "V"}


# Tables of one's own


def test_an_own_table_is_found_by_its_path(tmp_path: Path) -> None:
    table = load_technology(own_table(tmp_path))
    assert table.name == "mine"
    assert table.adder_bit_j.value == 2e-3
    assert table.adder_bit_m2.value == 2e-6
    assert table.link_bit_m_j.value == pytest.approx(2e-9)


def test_an_architecture_names_a_table_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    own_table(tmp_path)
    assert load_chip(with_technology(tmp_path / "sub", " ../mine.yaml")).technology.name == "mine"


def test_an_inherited_table_lies_beside_the_base_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    own_table(tmp_path)
    with_technology(tmp_path, " mine.yaml")
    path = tmp_path / "sub" / "child.yaml"
    path.write_text("format: imcsim-arch/1\nextends: ../chip.yaml\n")
    assert load_chip(path).technology.name == "mine"


def test_an_option_names_a_table_relative_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_table(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = ["technology.adder_bit_j=0.5", "technology=mine.yaml"]
    table = load_chip(ARCH / "rram64.yaml", options).technology
    assert (table.name, table.adder_bit_j.value) == ("mine with 1 value changed", 0.5)


def test_an_architecture_replaces_single_values(tmp_path: Path) -> None:
    path = with_technology(
        tmp_path,
        f"\n  base: {NAME}\n  name: tuned\n  adder_bit_j: {{value: 3, unit: fJ, source: lab}}",
    )
    table, base = load_chip(path).technology, load_technology(NAME)
    assert table.adder_bit_j.value == 3e-15
    assert table.adder_bit_j.source == "lab"
    assert (table.name, table.description) == ("tuned", base.description)
    assert table.link_bit_m_j == base.link_bit_m_j


def test_a_file_that_extends_replaces_single_values_whole(tmp_path: Path) -> None:
    changed(tmp_path)
    path = tmp_path / "child.yaml"
    text = "format: imcsim-arch/1\nextends: chip.yaml\ntechnology: {adder_bit_j: {value: 3"
    path.write_text(text + ", unit: fJ, source: lab}}\n")
    assert load_chip(path).technology.adder_bit_j.value == 3e-15
    path.write_text(text + "}}\n")
    assert faults(path) == [
        "child.yaml:3:14: technology.adder_bit_j.unit: missing",
        "child.yaml:3:14: technology.adder_bit_j.source: missing",
    ]


def test_an_option_gives_a_value_in_si_units() -> None:
    table = load_chip(ARCH / "rram64.yaml", ["technology.link_bit_m_j=2e-10"]).technology
    assert table.link_bit_m_j.value == 2e-10
    assert table.link_bit_m_j.source == "set on the command line"


def test_an_option_of_python_may_bring_unit_and_source() -> None:
    value = {"value": 3, "unit": "fJ", "source": "lab"}
    table = load_chip(ARCH / "rram64.yaml", {"technology.adder_bit_j": value}).technology
    assert (table.adder_bit_j.value, table.adder_bit_j.source) == (3e-15, "lab")


def test_the_name_of_a_table_tells_how_many_values_are_changed(tmp_path: Path) -> None:
    mine = "adder_bit_j: {value: 3, unit: fJ, source: lab}"
    path = with_technology(tmp_path, f" {{base: {NAME}, {mine}}}")
    assert load_chip(path).technology.name == f"{NAME} with 1 value changed"
    two = load_chip(path, ["technology.lut_read_j=1e-12"]).technology
    assert two.name == f"{NAME} with 2 values changed"
    same = load_chip(path, ["technology.adder_bit_j=2.02e-15"]).technology
    assert same.name == NAME
    path = with_technology(tmp_path, f" {{base: {NAME}, name: tuned, {mine}}}")
    assert load_chip(path).technology.name == "tuned"
    two = load_chip(path, ["technology.lut_read_j=1e-12"]).technology
    assert two.name == "tuned with 1 value changed"


@pytest.mark.parametrize(("unit", "factor"), [("µJ", 1e-6), ("μJ", 1e-6), ("aJ", 1e-18)])
def test_units_may_be_spelt_with_greek_letters(tmp_path: Path, unit: str, factor: float) -> None:
    old = "adder_bit_j: {value: 2, unit: mJ"
    table = load_technology(own_table(tmp_path, (old, old.replace("mJ", unit))))
    assert table.adder_bit_j.value == pytest.approx(2 * factor)


def test_squares_may_be_spelt_with_an_exponent(tmp_path: Path) -> None:
    old = "adder_bit_m2: {value: 2, unit: mm2"
    table = load_technology(own_table(tmp_path, (old, old.replace("mm2", "µm²"))))
    assert table.adder_bit_m2.value == 2e-12


# Faults of tables


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 2, unit: mJ", "value: -2, unit: mJ", "value: must not be negative (got -2)"),
        ("value: 2, unit: mJ", "value: .nan, unit: mJ", "value: must be a number (got .nan)"),
        ("value: 2, unit: mJ", "value: 2 pJ, unit: mJ",
         "value: must be a number (got '2 pJ'); its unit goes into unit"),
        ("value: 2, unit: mJ", "value: true, unit: mJ", "value: must be a number (got true)"),
        ("unit: mJ", "unit: PJ", "unit: must be one of J, mJ, uJ, nJ, pJ, fJ, aJ (got 'PJ');"
         " did you mean pJ?"),
        ("unit: mJ", "unit: pW", "unit: must be one of J, mJ, uJ, nJ, pJ, fJ, aJ (got 'pW')"),
        ("unit: mJ", "unit: 3", "unit: must be one of J, mJ, uJ, nJ, pJ, fJ, aJ (got 3)"),
        ("source: s", "source: ''", "source: must say where the value is from (got '')"),
        ("source: s", "source: 5", "source: must say where the value is from (got 5)"),
        ("source: s", "sourc: s", "sourc: unknown key; did you mean source?"),
    ],
)  # fmt: skip
def test_a_wrong_part_of_an_entry_is_shown_at_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    entry = "adder_bit_j: {value: 2, unit: mJ, source: s}"
    path = own_table(tmp_path, (f"\n{entry}", f"\n{entry.replace(old, new)}"))
    with pytest.raises(ArchError) as caught:
        load_technology(path)
    line = line_of(path, entry.replace(old, new))
    lines = [text.replace(f"{tmp_path}/", "") for text in caught.value.faults]
    shown = next(text for text in lines if message in text)
    file, number, column, key, _ = shown.split(":", 4)
    assert (file, int(number), key.strip()) == (
        "mine.yaml", line, f"adder_bit_j.{message.split(':')[0]}",
    )  # fmt: skip
    part = message.split(":")[0]
    start = entry.replace(old, new).index(f"{part}:") + 1
    textless = part == "sourc" or new == "source: ''"
    assert int(column) == (start if textless else start + len(part) + 2)
    assert shown.endswith(message)


def test_wires_are_given_per_length(tmp_path: Path) -> None:
    old = "link_bit_m_j: {value: 2, unit: pJ/mm"
    path = own_table(tmp_path, (old, old.replace("pJ/mm", "pJ")))
    assert table_fault(path).endswith(
        "link_bit_m_j.unit: must be one of J/m, pJ/mm, fJ/mm, fJ/um (got 'pJ')"
    )


def test_an_entry_that_is_a_bare_number_is_refused_with_an_example(tmp_path: Path) -> None:
    path = own_table(
        tmp_path, ("\nadder_bit_j: {value: 2, unit: mJ, source: s}", "\nadder_bit_j: 2")
    )
    assert table_fault(path).endswith(
        "adder_bit_j: must be a mapping such as {value: 1.5, unit: aJ, source: where it is from}"
        " (got 2)"
    )


def test_an_unknown_entry_is_pointed_to_the_right_one(tmp_path: Path) -> None:
    path = own_table(tmp_path, ("\nadder_bit_j:", "\nadder_bit_pj:"))
    line = line_of(path, "adder_bit_pj")
    assert table_fault(path) == (
        f"mine.yaml:{line}:1: adder_bit_pj: unknown key; did you mean adder_bit_j?"
    )


def test_a_table_must_be_complete(tmp_path: Path) -> None:
    text = own_table(tmp_path).read_text()
    (tmp_path / "mine.yaml").write_text(text[: text.index("router_bit_j")])
    assert table_fault(tmp_path / "mine.yaml") == (
        "mine.yaml:1:1: missing entries router_bit_j, router_leakage_w, router_m2 and 2 more"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: imcsim-technology/1", "format: imcsim-arch/1",
         "mine.yaml:1:9: format: must be imcsim-technology/1 (got 'imcsim-arch/1')"),
        ("name: mine", "name: 5", "mine.yaml:2:7: name: must be text (got 5)"),
        ("name: mine\n", "", "mine.yaml:1:1: name: missing; wanted is text"),
    ],
)  # fmt: skip
def test_the_heading_of_a_table_is_checked(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert table_fault(own_table(tmp_path, (old, new))) == message


def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert table_fault(tmp_path / "none.yaml") == "none.yaml: no such file"
    path = with_technology(tmp_path, " none.yaml")
    line = line_of(path, "technology:")
    assert fault(path) == f"chip.yaml:{line}:13: technology: none.yaml: no such file"


def test_an_unknown_name_is_pointed_to_the_packaged_tables(tmp_path: Path) -> None:
    with pytest.raises(ArchError, match=r"^technology: must be one of neurosim_32nm_lstp or"):
        load_technology("nothing_like_it")
    path = with_technology(tmp_path, " neurosim_32nm_hp")
    line = line_of(path, "technology:")
    assert fault(path) == (
        f"chip.yaml:{line}:13: technology: must be one of neurosim_32nm_lstp or a path"
        " (got 'neurosim_32nm_hp'); did you mean neurosim_32nm_lstp?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" 5", "13: technology: must be a name, a path or a mapping with base (got 5)"),
        (" {base: [a]}", "14: technology.base: must be a name or a path (got a list)"),
        (" {name: mine, description: d}", "1: technology: missing entries supply_v,"
         " wordline_cell_j, input_switch_clock_j and 42 more; write base: neurosim_32nm_lstp"
         " to take them from there"),
        (f" {{extends: {NAME}}}", "14: technology.extends: unknown key; did you mean base?"),
        (f" {{base: {NAME}, adder_bit_j: {{value: 5e12, unit: pJ, source: s}}}}",
         "61: technology.adder_bit_j.value: must be at most 1 J (got 5e12 pJ)"),
        (f' {{base: {NAME}, name: "a\\e"}}', "46: technology.name: must be text without control"
         " characters (got 'a\\x1b')"),
        (f" {{base: {NAME}, adder_j: 5}}", "40: technology.adder_j: unknown key; did you mean"
         " adder_bit_j?"),
        (f" {{base: {NAME}, name: 5}}", "46: technology.name: must be text (got 5)"),
    ],
)  # fmt: skip
def test_a_wrong_technology_is_a_fault_of_the_architecture(
    tmp_path: Path, text: str, message: str
) -> None:
    path = with_technology(tmp_path, text)
    assert fault(path) == f"chip.yaml:{line_of(path, 'technology:')}:{message}"


def test_a_missing_technology_is_a_fault(tmp_path: Path) -> None:
    path = changed(tmp_path, (LINE, "# "))
    line = line_of(path, "format:")
    assert fault(path) == (
        f"chip.yaml:{line}:1: technology: missing; wanted is one of {NAME}, a path, or a mapping"
        " with base"
    )


def test_a_table_can_be_written_inside_the_architecture(tmp_path: Path) -> None:
    table = yaml.safe_load(own_table(tmp_path).read_text())
    del table["format"]
    path = with_technology(
        tmp_path, " " + yaml.safe_dump(table, default_flow_style=True, width=1e9)
    )
    assert load_chip(path).technology == load_technology(tmp_path / "mine.yaml")
