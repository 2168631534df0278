"""Lists of sections of several classes within a section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from imcsim.config.check import Conflict, blame, check_parts
from imcsim.config.faults import Fault
from imcsim.config.layout import Layout, Section, variants_of
from imcsim.config.overrides import Overrides, apply_overrides
from imcsim.config.yaml_positions import Document, read_document
from tests.config.garden import Title


class Slugs(Section):
    kind: Literal["slugs"]
    share: float = Field(ge=0, le=1)


class Frost(Section):
    kind: Literal["frost", "ice"]
    nights: int = Field(ge=1)
    kelvin: float | None = Field(default=None, gt=0)
    beds: tuple[int, ...] = ()

    @field_validator("kelvin")
    @classmethod
    def _is_cold(cls, value: float | None) -> float | None:
        if value is not None and value > 273:
            raise PydanticCustomError("unfit", "must freeze")
        return value


class Harm(Section):
    plagues: tuple[Annotated[Slugs | Frost, Field(discriminator="kind")], ...] = ()


class Yard(Title):
    harm: Harm


YARD = Layout(model=Yard, heading=Title, example="title=a")
TEXT = """\
title: yard
harm:
  plagues:
  - {kind: slugs, share: 0.5}
  - kind: frost
    nights: 3
"""


def check(
    folder: Path, text: str = TEXT, overrides: Overrides = ()
) -> tuple[dict[str, Any], list[str], Document]:
    path = folder / "yard.yaml"
    path.write_text(text)
    document = read_document(path)
    faults: list[Fault] = []
    apply_overrides(document, YARD, overrides, faults)
    parts = check_parts(document, YARD, faults)
    return parts, [str(fault).replace(f"{folder}/", "") for fault in faults], document


def test_every_word_names_a_class() -> None:
    kinds = variants_of(Harm.model_fields["plagues"])
    assert kinds is not None
    assert (kinds.key, dict(kinds.classes)) == (
        "kind",
        {"slugs": Slugs, "frost": Frost, "ice": Frost},
    )
    assert kinds.class_of({"kind": "ice"}) is Frost
    assert kinds.class_of({"kind": ["ice"]}) is kinds.class_of(5) is kinds.class_of({}) is None
    assert variants_of(Frost.model_fields["beds"]) is None


def test_a_list_becomes_a_tuple_of_sections(tmp_path: Path) -> None:
    parts, faults, _ = check(tmp_path)
    assert faults == []
    expected = (Slugs(kind="slugs", share=0.5), Frost(kind="frost", nights=3))
    assert parts["harm"] == Harm(plagues=expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("share: 0.5", "share: 2", "4:26: harm.plagues[0].share: must be a number from 0 to 1"
         " (got 2)"),
        ("nights: 3", "nigths: 3", "6:5: harm.plagues[1].nigths: unknown key; did you mean"
         " nights?"),
        ("nights: 3", "nights: 3\n    depth: 1", "7:5: harm.plagues[1].depth: unknown key;"
         " harm.plagues[1] has kind, nights, kelvin, beds"),
        ("\n    nights: 3", "", "5:5: harm.plagues[1].nights: missing; wanted is a whole number"
         " at least 1"),
        ("kind: frost", "kind: forst", "5:11: harm.plagues[1].kind: must be one of slugs, frost,"
         " ice (got 'forst'); did you mean frost?"),
        ("kind: frost", "kind: [frost]", "5:5: harm.plagues[1].kind: must be one of slugs, frost,"
         " ice (got a list)"),
        ("kind: slugs, ", "", "4:5: harm.plagues[0].kind: missing; wanted is one of slugs, frost,"
         " ice"),
        ("{kind: slugs, share: 0.5}", "slugs", "4:5: harm.plagues[0]: must be a section with kind,"
         " one of slugs, frost, ice (got 'slugs')"),
        ("nights: 3", "nights: 3\n    kelvin: 300", "7:13: harm.plagues[1].kelvin: must freeze"),
        ("nights: 3", "nights: 3\n    kelvin: -1", "7:13: harm.plagues[1].kelvin: must be a number"
         " above 0 (got -1)"),
        ("nights: 3", "nights: 3\n    beds: [1, x]", "7:15: harm.plagues[1].beds[1]: must be a"
         " whole number (got 'x')"),
        (TEXT[TEXT.index("  plagues:"):], "  plagues: none\n", "3:12: harm.plagues: must be a list"
         " of sections, each with kind (got 'none')"),
    ],
)  # fmt: skip
def test_a_fault_is_found_where_it_stands(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert TEXT.count(old) == 1
    parts, faults, _ = check(tmp_path, TEXT.replace(old, new))
    assert faults == [f"yard.yaml:{message}"]
    assert parts["harm"] is None


@pytest.mark.parametrize(
    ("options", "plagues"),
    [
        (["harm.plagues.0.share=0.25"], [Slugs(kind="slugs", share=0.25),
         Frost(kind="frost", nights=3)]),
        (["harm.plagues=[]"], []),
        (["harm.plagues=[{kind: ice, nights: 2, beds: [4]}]"],
         [Frost(kind="ice", nights=2, beds=(4,))]),
        (["harm.plagues[0].nights=7", "harm.plagues=[{kind: ice, nights: 2}]"],
         [Frost(kind="ice", nights=7)]),
        (["harm.plagues.1.beds=[4, 5]"], [Slugs(kind="slugs", share=0.5),
         Frost(kind="frost", nights=3, beds=(4, 5))]),
        ({"harm.plagues": ({"kind": "ice", "nights": 2, "beds": (1, 2)},)},
         [Frost(kind="ice", nights=2, beds=(1, 2))]),
    ],
)  # fmt: skip
def test_options_replace_the_list_or_a_value_in_it(
    options: Overrides, plagues: list[Section], tmp_path: Path
) -> None:
    parts, faults, _ = check(tmp_path, overrides=options)
    assert faults == []
    assert parts["harm"].plagues == tuple(plagues)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("harm.plagues.2.share=1", "there is no harm.plagues.2; the last is harm.plagues.1"),
        ("harm.plagues.0.nights=1", "unknown key; did you mean harm.plagues.1.nights?"),
        ("harm.plagues.0.share=2", "must be a number from 0 to 1 (got 2)"),
        ("harm.plagues=5", "must be a list of sections, each with kind (got 5)"),
        ("harm.plagues=[{kind: ice, nights: 0}]", "harm.plagues[0].nights: must be a whole number"
         " at least 1 (got 0)"),
        ("harm.plagues=[{kind: ice}]", "harm.plagues[0].nights: missing; wanted is a whole number"
         " at least 1"),
        ("harm.plagues=[ice]", "must be a section with kind, one of slugs, frost, ice"
         " (got 'ice')"),
        ("harm.plagues=[{kind: ice", "not valid YAML: expected ',' or '}', but got '<stream end>'"
         " (while parsing a flow mapping)"),
        ("harm.plagues=[{kind: ice, kind: ice}]", "[0].kind: duplicate key"),
        ("harm.plagues=[{kind: \x07}]", "a character that is not allowed in YAML"),
        ("harm.plagues=[*none]", "not valid YAML: found undefined alias 'none'"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line(option: str, message: str, tmp_path: Path) -> None:
    _, faults, _ = check(tmp_path, overrides=[option])
    assert faults == [f"--set {option}: {message}"]


def test_a_conflict_within_an_option_is_named(tmp_path: Path) -> None:
    *_, document = check(tmp_path, overrides=["harm.plagues=[{kind: ice, nights: 2}]"])
    conflict = Conflict((("harm", "plagues", 0, "nights"),), "must be 3")
    assert str(blame(conflict, document)).endswith(": harm.plagues[0].nights: must be 3")
