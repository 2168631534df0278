from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imcsim.config.overrides import apply_overrides
from tests.config.garden import GARDEN, TEXT, overridden, read


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("title=beans", ["title"], "beans"),
        ("pump.quiet=true", ["pump", "quiet"], True),
        ("pump.power_v = 3", ["pump", "power_v"], 3),
        ("spare.power_v=3.5", ["spare", "power_v"], 3.5),
        ("beds.1.rows=7", ["beds", 1, "rows"], 7),
        ("beds[0].rows=7", ["beds", 0, "rows"], 7),
        ("beds.0.spacing=[4, path,5]", ["beds", 0, "spacing"], [4, "path", 5]),
        ("beds.1.spacing=4,path", ["beds", 1, "spacing"], [4, "path"]),
        ("beds.1.spacing=[]", ["beds", 1, "spacing"], []),
        ("beds.1.spacing=null", ["beds", 1, "spacing"], None),
        ("soil=loam", ["soil"], {"base": "loam"}),
        ("soil.clay=5", ["soil", "clay"], "5 %"),
    ],
)
def test_an_option_replaces_one_value(
    option: str, path: list[Any], value: Any, tmp_path: Path
) -> None:
    data, faults = overridden(tmp_path, [option])
    expected = read(tmp_path).data
    holder: Any = expected
    for step in path[:-1]:
        holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
    holder[path[-1]] = value
    assert data == expected
    assert faults == []


def test_the_last_option_of_a_key_counts_however_it_is_spelt(tmp_path: Path) -> None:
    data, _ = overridden(tmp_path, ["beds.1.rows=7", "beds[1].rows=8"])
    assert data["beds"][1]["rows"] == 8


def test_what_is_replaced_as_a_whole_goes_in_first(tmp_path: Path) -> None:
    data, _ = overridden(tmp_path, ["soil.clay=5", "soil=loam"])
    assert data["soil"] == {"base": "loam", "clay": "5 %"}


def test_options_may_be_python_values(tmp_path: Path) -> None:
    overrides = {"beds.1.spacing": [4, "path"], "beds.0.rows": np.int64(3)}
    data, _ = overridden(tmp_path, overrides)
    assert data["beds"][1]["spacing"] == [4, "path"]
    assert type(data["beds"][0]["rows"]) is int


def test_a_value_lies_at_the_option_and_its_surroundings_stay_where_they_were(
    tmp_path: Path,
) -> None:
    document = read(tmp_path)
    before = dict(document.entries)
    apply_overrides(document, GARDEN, ["beds.1.spacing=9"], [])
    assert str(document.entry(("beds", 1, "spacing", 0)).origin) == "--set beds.1.spacing=9"
    gone = {path for path in before if path[:3] == ("beds", 1, "spacing")}
    assert {path: entry for path, entry in before.items() if path not in gone} == {
        path: entry for path, entry in document.entries.items() if path != ("beds", 1, "spacing")
    }


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pump", "must look like KEY=VALUE, for example pump.power_v=5"),
        ("=5", "must look like KEY=VALUE, for example pump.power_v=5"),
        ("pump=5", "a section, not a key; its keys are power_v, quiet"),
        ("beds=5", "not a key; the keys of beds.0 are plant, rows, spacing (beds.0.plant=...)"),
        ("beds.1=5", "not a key; the keys of beds.1 are plant, rows, spacing (beds.1.plant=...)"),
        ("beds.2=5", "there is no beds.2; the last is beds.1"),
        ("beds.2.rows=5", "there is no beds.2; the last is beds.1"),
        ("beds." + "9" * 5000 + ".rows=5", "there is no beds." + "9" * 5000 + "; the last is"
         " beds.1"),
        ("beds.-1.rows=5", "unknown key; did you mean beds.0.rows?"),
        ("beds.rows=5", "unknown key; did you mean beds.0.rows?"),
        ("beds.1.row=5", "unknown key; did you mean beds.1.rows?"),
        ("plant=pea", "unknown key; did you mean beds.0.plant?"),
        ("pump.power=5", "unknown key; did you mean pump.power_v?"),
        ("quiet=true", "unknown key; did you mean pump.quiet or spare.quiet?"),
        ("above=x", "unknown key"),
        ("beds.0.spacing=1," + "9" * 200, "a whole number with more than 100 digits"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_that_repeats_it(
    option: str, message: str, tmp_path: Path
) -> None:
    data, faults = overridden(tmp_path, [option])
    assert faults == [f"--set {option}: {message}"]
    assert data == read(tmp_path).data


def test_of_an_empty_list_there_is_no_entry(tmp_path: Path) -> None:
    text = TEXT.partition("beds:")[0]
    _, faults = overridden(tmp_path, ["beds.0.rows=1"], text)
    assert faults == ["--set beds.0.rows=1: there is no beds.0"]


@pytest.mark.parametrize("text", ["pump: fast\nbeds: [5]\n", "pump: [5]\nbeds: [[1]]\n"])
def test_what_is_no_section_in_the_file_is_left_alone(text: str, tmp_path: Path) -> None:
    data, faults = overridden(tmp_path, ["pump.quiet=true", "beds.0.rows=1"], text)
    assert data == read(tmp_path, text).data
    assert faults == []
