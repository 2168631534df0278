from __future__ import annotations

import pytest

from imcsim.config.layout import Layout, Section, content_hash
from tests.config.garden import GARDEN, Bed, Garden, Pump, Title

TWO_BEDS: dict[str, list[dict[str, int]]] = {"beds": [{}, {}]}


def test_a_layout_tells_sections_lists_and_values_apart() -> None:
    assert GARDEN.sections == {"pump": Pump, "spare": Pump}
    assert GARDEN.lists == {"beds": Bed}
    assert GARDEN.top_keys == ["format", "title", "year", "above", "soil", "pump", "beds", "spare"]


def test_a_list_has_keys_for_each_entry_of_the_file() -> None:
    paths = GARDEN.paths(TWO_BEDS)
    beds = [("beds", i, key) for i in (0, 1) for key in ("plant", "rows", "spacing")]
    assert [path for path in paths if path[0] == "beds"] == beds
    assert not [path for path in GARDEN.paths({"beds": 5}) if path[0] == "beds"]
    assert {("title",), ("pump", "quiet"), ("soil",), ("soil", "clay")} <= set(paths)
    assert ("above",) not in paths


def test_a_value_that_is_a_list_is_known_as_one() -> None:
    lists = [path for path in GARDEN.paths(TWO_BEDS) if GARDEN.takes_list(path, TWO_BEDS)]
    assert lists == [("beds", 0, "spacing"), ("beds", 1, "spacing")]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("pumps", "did you mean pump?"),
        ("power_v", "did you mean pump.power_v or spare.power_v?"),
        ("rows", "did you mean beds[0].rows?"),
        ("pump.quiet", "write quiet below pump:"),
        ("beds.1.rows", "write rows below beds[1]:"),
        ("zzz", "allowed are format, title, year, above, soil, pump, beds, spare"),
    ],
)
def test_an_unknown_key_of_the_top_is_told_what_to_do(key: str, message: str) -> None:
    assert GARDEN.unknown_at_top(key, TWO_BEDS) == f"unknown key; {message}"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("row", "did you mean rows?"),
        ("quiet", "did you mean pump.quiet or spare.quiet?"),
        ("zzz", "beds[1] has plant, rows, spacing"),
    ],
)
def test_an_unknown_key_of_an_entry_is_told_what_to_do(key: str, message: str) -> None:
    found = GARDEN.unknown_in_section(("beds", 1, key), Bed, TWO_BEDS)
    assert found == f"unknown key; {message}"


def test_the_hash_depends_on_values_and_not_on_how_they_came() -> None:
    beds = (Bed(plant="pea", rows=1),)
    garden = Garden(title="a", pump=Pump(power_v=5), beds=beds)
    same = Garden(title="a", year=0, pump=Pump(power_v=5.0, quiet=False), beds=beds)
    other = Garden(title="a", pump=Pump(power_v=5), beds=(*beds, *beds))
    assert content_hash(garden) == content_hash(same) != content_hash(other)
    assert len(content_hash(garden)) == 64


def test_a_layout_without_anything_below_the_top_is_possible() -> None:
    layout = Layout(model=Title, heading=Title, example="year=1")
    assert (layout.sections, layout.lists, layout.paths({})) == ({}, {}, [("title",), ("year",)])


def test_a_section_is_strict_and_frozen() -> None:
    assert issubclass(Pump, Section)
    with pytest.raises(ValueError, match="frozen"):
        Pump(power_v=1).quiet = True  # type: ignore[misc]
    with pytest.raises(ValueError, match="valid number"):
        Pump.model_validate({"power_v": "5"})
    with pytest.raises(ValueError, match="not permitted"):
        Pump.model_validate({"power_v": 5, "power": 5})
