from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imcsim.config.faults import Place, UnreadableError
from imcsim.config.yaml_positions import (
    MAX_BYTES,
    MAX_NODES,
    Document,
    dotted,
    dump_document,
    option_key,
    parse_scalar,
    read_document,
)


def read(tmp_path: Path, text: str | bytes) -> Document:
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(path)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        read(tmp_path, text)
    return str(caught.value.fault).replace(f"{tmp_path}/", "")


SCALARS = [
    ("20e3", 20000.0),
    ("2e5", 200000.0),
    ("1E5", 100000.0),
    ("32e-9", 32e-9),
    ("+1.5", 1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.5e+1", -5.0),
    ("-.inf", float("-inf")),
    ("64", 64),
    ("-3", -3),
    ("0777", 777),
    ("0o17", 15),
    ("0xfF", 255),
    ("1_000", "1_000"),
    ("0b11", "0b11"),
    ("64:1", "64:1"),
    ("1e", "1e"),
    (".", "."),
    ("inf", "inf"),
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("No", "No"),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("2026-11-23", "2026-11-23"),
    ("20 kOhm", "20 kOhm"),
    ("'5'", "5"),
    ('"5"', "5"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_follow_the_core_schema_of_yaml_1_2(tmp_path: Path, text: str, value: Any) -> None:
    found = read(tmp_path, f"a: {text}\n").data["a"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_an_option_is_read_like_a_scalar_of_a_file(text: str, value: Any) -> None:
    found = parse_scalar(f" {text} ")
    assert (type(found), found) == (type(value), value)


def test_nan_is_a_float_and_an_empty_value_is_nothing(tmp_path: Path) -> None:
    data = read(tmp_path, "a: .nan\nb:\n").data
    assert data["a"] != data["a"]
    assert data["b"] is None
    assert parse_scalar("") is None


def test_every_key_value_and_list_item_has_its_position(tmp_path: Path) -> None:
    document = read(tmp_path, "a:\n  b: 20e3\n  c: {d: [x, yy]}\n")
    places = {
        path: (entry.key.line, entry.key.column, entry.value.line, entry.value.column)
        for path, entry in document.entries.items()
        if isinstance(entry.key, Place) and isinstance(entry.value, Place)
    }
    assert places == {
        (): (1, 1, 1, 1),
        ("a",): (1, 1, 2, 3),
        ("a", "b"): (2, 3, 2, 6),
        ("a", "c"): (3, 3, 3, 6),
        ("a", "c", "d"): (3, 7, 3, 10),
        ("a", "c", "d", 0): (3, 11, 3, 11),
        ("a", "c", "d", 1): (3, 14, 3, 14),
    }
    assert document.entries["a", "b"].text == "20e3"
    assert document.entries["a", "c"].text is None


def test_a_path_is_shown_with_brackets_and_set_with_dots() -> None:
    path = ("stages", 1, "learning_rate")
    assert (dotted(path), option_key(path)) == (
        "stages[1].learning_rate",
        "stages.1.learning_rate",
    )
    assert (dotted(()), dotted(("a", 0, 1))) == ("", "a[0][1]")


def test_what_was_not_said_lies_where_its_surroundings_do(tmp_path: Path) -> None:
    document = read(tmp_path, "a:\n  b: 1\n")
    assert document.entry(("a", "z", "y")) is document.entries["a",]


def test_anchors_and_merges_work_and_own_keys_win(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, y: 9}\nd: {<<: [*a, *b]}\ne: *a\n"
    document = read(tmp_path, text)
    assert document.data == yaml.safe_load(text)
    assert document.data["c"] == {"x": 1, "y": 9}
    assert document.data["d"] == {"x": 1, "y": 2, "z": 4}
    assert str(document.entries["c", "x"].value).endswith("x.yaml:1:11")


def test_a_merge_of_something_else_is_a_fault(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, "a:\n  <<: 5\n").faults
    assert str(fault).endswith(
        "x.yaml:2:7: a: << must name a mapping (<<: *anchor), and not itself"
    )


def test_a_mapping_that_merges_itself_is_a_fault(tmp_path: Path) -> None:
    (fault,) = read(tmp_path, "a: &a\n  <<: *a\n  b: 1\n").faults
    assert "and not itself" in str(fault)


def test_the_merge_sign_is_text_where_it_is_no_key(tmp_path: Path) -> None:
    assert read(tmp_path, "a: <<\n").data == {"a": "<<"}


def test_equal_keys_are_refused_with_both_positions(tmp_path: Path) -> None:
    document = read(tmp_path, "a:\n  b: 1\n  c: 2\n  b: 3\na: 1\n")
    path = tmp_path / "x.yaml"
    assert [str(fault) for fault in document.faults] == [
        f"{path}:5:1: a: duplicate key; first at {path}:1:1",
        f"{path}:4:3: a.b: duplicate key; first at {path}:2:3",
    ]


def test_an_equal_key_in_an_anchor_is_reported_once_per_place_it_is_used(tmp_path: Path) -> None:
    faults = read(tmp_path, "a: &a {x: 1, x: 2}\nb: {<<: *a}\nc: {<<: [*a, *a]}\n").faults
    assert [fault.key for fault in faults] == ["a.x", "b.x", "c.x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5: x", "x.yaml:1:1: a key must be text (got 5); put it in quotes"),
        ("true: x", "x.yaml:1:1: a key must be text (got true); put it in quotes"),
        ("a:\n  [b]: x", "x.yaml:2:3: a: a key must be a word, not a mapping or list"),
        ("a: !!binary aGk=", "x.yaml:1:4: a: the tag binary is not supported"),
        ("a: !thing x", "x.yaml:1:4: a: the tag !thing is not supported"),
        ("a: !!int x", "x.yaml:1:4: a: 'x' is no int"),
        ("a: " + "9" * 5000, "x.yaml:1:4: a: a whole number with more than 100 digits"),
    ],
)
def test_strange_keys_and_values_are_faults(tmp_path: Path, text: str, message: str) -> None:
    (fault,) = read(tmp_path, text).faults
    assert str(fault).replace(f"{tmp_path}/", "") == message


def test_explicit_tags_of_the_core_schema_are_understood(tmp_path: Path) -> None:
    assert read(tmp_path, "a: !!str 5\nb: !!float 5\n").data == {"a": "5", "b": 5.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: is empty; a YAML mapping (key: value) is wanted"),
        ("# nothing\n", "x.yaml: is empty; a YAML mapping (key: value) is wanted"),
        ("- a\n", "x.yaml:1:1: the top level must be a mapping (key: value), not a list"),
        ("\nhi\n", "x.yaml:2:1: the top level must be a mapping (key: value), not a single value"),
        ("a:\n\tb: 1\n", "x.yaml:2:1: a tab; YAML is indented with spaces"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document begins here (---); one is allowed"),
        ("a: *b\n", "x.yaml:1:4: not valid YAML: found undefined alias 'b'"),
        (b"a: 1\nb: \xff\n", "x.yaml:2:4: not UTF-8 text (byte 0xff)"),
        (b"a: 1\nb: \x07\n", "x.yaml:2:4: character U+0007 is not allowed in YAML"),
        ("a: " + "[" * 60, "x.yaml:1:43: nested more than 40 levels deep"),
        ("a: &a [*a]\n", "x.yaml:1:4: aliases stand for too many values, or for themselves"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert refusal(tmp_path, text) == message


def test_broken_syntax_is_refused_with_position_and_reason(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a: {b: 1\nc: 2\n")
    assert re.match(r"x\.yaml:2:2: not valid YAML: .*expected.* \(while .*\)$", message)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_lines_that_stand_for_billions_of_values_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "aliases stand for too many values" in refusal(tmp_path, "\n".join(lines))


def test_too_many_values_are_refused_before_they_are_all_read(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a: [" + "1," * (MAX_NODES + 10) + "]")
    assert message.endswith(f"more than {MAX_NODES} keys and values")


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, b"#" * (MAX_BYTES + 1))
    assert message == f"x.yaml: is larger than {MAX_BYTES} bytes"


def test_a_missing_file_a_directory_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    for path, reason in [
        (f"{tmp_path}/none.yaml", "no such file"),
        (str(tmp_path), "is a directory, not a file"),
        ("a\0b", "cannot be read: embedded null byte"),
    ]:
        with pytest.raises(UnreadableError, match=reason):
            read_document(path)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    with pytest.raises(UnreadableError, match=r"x\.yaml: cannot be read: Permission denied"):
        read_document(tmp_path / "x.yaml")


words = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from([text for text, _ in SCALARS]),
)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(words, plain, min_size=1, max_size=4))
def test_plain_data_survives_writing_and_reading(
    data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    text = dump_document(data)
    path.write_text(text, encoding="utf-8", newline="")
    document = read_document(path)
    assert not document.faults
    assert document.data == data
    assert yaml.safe_load(text) == data
