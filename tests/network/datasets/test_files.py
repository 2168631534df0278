"""Where a data set is looked for, and how files are ordered."""

from __future__ import annotations

from pathlib import Path

import pytest

from imcsim.errors import InputFileError
from imcsim.network.datasets.files import folders, numbered, read_lines, refuse_incomplete


def test_folders_are_searched_two_levels_deep_and_no_deeper(tmp_path: Path) -> None:
    (tmp_path / "b" / "c" / "too_deep").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    found = [str(path.relative_to(tmp_path)) for path in folders(tmp_path)]
    assert found == [".", "a", "b", "b/c"]


def test_files_are_sorted_by_number_not_by_letter() -> None:
    paths = [Path(name) for name in ("x2_10.bin", "x2_9.bin", "none.bin", "x1_9.bin")]
    assert [path.name for path in numbered(paths)] == [
        "none.bin",
        "x1_9.bin",
        "x2_9.bin",
        "x2_10.bin",
    ]


def test_missing_files_are_named_but_not_by_the_thousand() -> None:
    refuse_incomplete(Path("set"), [])
    with pytest.raises(InputFileError) as caught:
        refuse_incomplete(Path("set"), list("abcde"))
    assert str(caught.value) == "set: incomplete, missing a, b, c and 2 more"


def test_a_binary_file_in_place_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputFileError, match=r"a\.txt: not a text file"):
        read_lines(tmp_path / "a.txt")
