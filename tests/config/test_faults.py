from __future__ import annotations

import pytest

from imcsim.config.faults import Fault, Option, Place, UnreadableError, raise_faults
from imcsim.errors import ArchError, ConfigError, RecipeError, UsageError

LATE = Fault(Place("a.yaml", 9, 1), "x.y", "late")
EARLY = Fault(Place("a.yaml", 2, 7), "", "early")
OPTION = Fault(Option("x.y=1"), "x.y", "wrong")


@pytest.mark.parametrize("kind", [ArchError, RecipeError])
def test_faults_are_raised_in_the_order_of_their_lines_as_the_error_of_the_reader(
    kind: type[ConfigError],
) -> None:
    with pytest.raises(kind) as caught:
        raise_faults([OPTION, LATE, EARLY], kind)
    assert type(caught.value) is kind
    assert caught.value.faults == [
        "a.yaml:2:7: early",
        "a.yaml:9:1: x.y: late",
        "--set x.y=1: wrong",
    ]


def test_wrong_options_alone_are_a_wrong_call_of_the_command() -> None:
    with pytest.raises(UsageError, match=r"^--set x\.y=1: wrong\n--set z=: bad$"):
        raise_faults([OPTION, Fault(Option("z="), "", "bad")], RecipeError)


def test_a_place_is_written_as_editors_read_it() -> None:
    assert str(Place("a.yaml", 3, 5)) == "a.yaml:3:5"
    assert str(Place("a.yaml")) == "a.yaml"
    assert str(Option("a.b=1")) == "--set a.b=1"


def test_a_fault_stays_one_line() -> None:
    assert str(Fault(Place("a.yaml", 1, 1), "a\nb", "c\nd")) == "a.yaml:1:1: a b: c d"
    assert str(UnreadableError(EARLY)) == str(EARLY)
