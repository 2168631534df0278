from __future__ import annotations

from pathlib import Path

import pytest

from imcsim.config.check import Conflict, blame, format_fault
from imcsim.config.overrides import apply_overrides
from tests.config.garden import GARDEN, TEXT, Bed, Garden, Pump, check, read


def test_a_file_becomes_sections_tuples_and_defaults(tmp_path: Path) -> None:
    parts, faults = check(tmp_path)
    assert faults == []
    assert Garden.model_validate(parts) == Garden(
        title="peas",
        pump=Pump(power_v=5),
        beds=(
            Bed(plant="pea", rows=2),
            Bed(plant="bean", rows=3, spacing=(1, "path", 2)),
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows: 3", "rows: 0", "8:9: beds[1].rows: must be a whole number from 1 to 9 (got 0)"),
        ("rows: 3", "row: 3", "8:3: beds[1].row: unknown key; did you mean rows?"),
        ("rows: 3", "power_v: 3\n  rows: 1", "8:3: beds[1].power_v: unknown key; did you mean"
         " pump.power_v or spare.power_v?"),
        ("  rows: 3\n", "", "7:3: beds[1].rows: missing; wanted is a whole number from 1 to 9"),
        ("plant: bean", "plant: beam", "7:10: beds[1].plant: must be one of bean, pea (got 'beam');"
         " did you mean bean?"),
        ("[1, path, 2]", "[1, paht, 2]", "9:16: beds[1].spacing[1]: must be a whole number at"
         " least 1 or path (got 'paht'); did you mean path?"),
        ("[1, path, 2]", "[1, path, 0]", "9:22: beds[1].spacing[2]: must be a whole number at"
         " least 1 or path (got 0)"),
        ("[1, path, 2]", "[1, path, 2.0]", "9:22: beds[1].spacing[2]: must be a whole number at"
         " least 1 or path (got 2.0); write 2"),
        ("[1, path, 2]", "[1, [path], 2]", "9:16: beds[1].spacing[1]: must be a whole number at"
         " least 1 or path (got a list)"),
        ("[1, path, 2]", "path", "9:12: beds[1].spacing: must be a list, each entry a whole number"
         " at least 1 or path (got 'path')"),
        ("power_v: 5", "power_v: 5\n  quiet: yes", "4:10: pump.quiet: must be true or false"
         " (got 'yes'); write true"),
        ("power_v: 5", "power_v: 5\n  quiet: OFF", "4:10: pump.quiet: must be true or false"
         " (got 'OFF'); write false"),
        ("power_v: 5", "power_v: 5\n  quiet: 1", "4:10: pump.quiet: must be true or false (got 1)"),
        ("title: peas", "title: peas and beans", "1:8: title: must be text of at most 10 characters"
         " (got 14)"),
        ("title: peas", "title: peas\nyear: x", "2:7: year: must be a whole number (got 'x')"),
        ("title: peas", "tittle: peas", "1:1: tittle: unknown key; did you mean title?"),
        ("title: peas", "titel: peas", "1:1: titel: unknown key; did you mean title?"),
        ("pump:\n  power_v: 5", "pump: 5", "2:1: pump: must be a section with power_v, quiet"
         " (got 5)"),
        ("pump:\n  power_v: 5\n", "", "1:1: pump: missing section with power_v, quiet"),
        ("beds:", "spare: {power_v: 0}\nbeds:", "4:18: spare.power_v: must be a number in V"
         " above 0 and at most 12 (got 0)"),
        ("beds:", "bets:", "4:1: bets: unknown key; did you mean beds?"),
        (TEXT[TEXT.index("beds:"):], "", "1:1: beds: missing; wanted is a list of 1 to 3 sections"
         " with plant, rows, spacing"),
        (TEXT[TEXT.index("beds:"):], "beds: []\n", "4:1: beds: must be a list of 1 to 3 sections"
         " with plant, rows, spacing (got 0)"),
        (TEXT[TEXT.index("beds:"):], "beds: {plant: pea, rows: 1}\n", "4:1: beds: must be a list"
         " of 1 to 3 sections with plant, rows, spacing (got a mapping)"),
        (TEXT[TEXT.index("beds:"):], "beds: pea\n", "4:7: beds: must be a list of 1 to 3 sections"
         " with plant, rows, spacing (got 'pea')"),
        ("- plant: bean", "- pea\n- plant: bean", "7:3: beds[1]: must be a section with plant,"
         " rows, spacing (got 'pea')"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_what_is_allowed(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert TEXT.count(old) == 1
    _, faults = check(tmp_path, TEXT.replace(old, new))
    assert faults == [f"garden.yaml:{message}"]


def test_too_long_a_list_is_refused_and_its_entries_are_checked(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index("beds:")] + "beds:\n" + "- {plant: pea, rows: 10}\n" * 4
    _, faults = check(tmp_path, text)
    assert faults[0].endswith("(got 4)")
    assert [line.split(": ")[1] for line in faults[1:]] == [f"beds[{i}].rows" for i in range(4)]


def test_a_part_at_fault_leaves_the_others_usable(tmp_path: Path) -> None:
    parts, faults = check(tmp_path, TEXT.replace("rows: 2", "rows: 0").replace("title", "x"))
    assert len(faults) == 3  # unknown x, missing title, rows
    assert parts == {
        "pump": Pump(power_v=5),
        "beds": (None, Bed(plant="bean", rows=3, spacing=(1, "path", 2))),
        "spare": Pump(power_v=5),
    }


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("beds.1.rows=0", "must be a whole number from 1 to 9 (got 0)"),
        ("beds.0.spacing=1,x", "must be a whole number at least 1 or path (got 'x')"),
        ("beds.0.spacing=4", "must be a list, each entry a whole number at least 1 or path"
         " (got 4)"),
        ("spare.quiet=true", "spare.power_v: missing; wanted is a number in V above 0 and at most"
         " 12"),
    ],
)  # fmt: skip
def test_a_value_that_an_option_gives_is_laid_at_the_option(
    option: str, message: str, tmp_path: Path
) -> None:
    _, (fault,) = check(tmp_path, overrides=[option])
    where = "garden.yaml:1:1" if "spare" in option else f"--set {option}"
    assert fault == f"{where}: {message}"


def test_a_conflict_lies_at_the_first_key_or_at_the_option_behind_it(tmp_path: Path) -> None:
    conflict = Conflict((("beds", 1, "rows"), ("pump", "power_v")), "must be power_v (got 3)")
    document = read(tmp_path)
    assert str(blame(conflict, document)).endswith(
        "garden.yaml:8:9: beds[1].rows: must be power_v (got 3)"
    )
    apply_overrides(document, GARDEN, ["pump.power_v=4"], [])
    assert str(blame(conflict, document)) == (
        "--set pump.power_v=4: beds[1].rows then must be power_v (got 3)"
    )
    apply_overrides(document, GARDEN, ["beds.1.rows=3"], [])
    assert str(blame(conflict, document)) == "--set beds.1.rows=3: must be power_v (got 3)"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("format: garden/1\n", None),
        ("format: garden/2\n", "1:9: format: must be garden/1 (got 'garden/2')"),
        ("format: [garden/1]\n", "1:1: format: must be garden/1 (got a list)"),
        ("", "1:1: format: missing; write format: garden/1"),
    ],
)
def test_a_file_says_of_which_kind_it_is(head: str, message: str | None, tmp_path: Path) -> None:
    fault = format_fault(read(tmp_path, head + TEXT), "garden/1")
    expected = None if message is None else f"{tmp_path}/garden.yaml:{message}"
    assert (fault and str(fault)) == expected
