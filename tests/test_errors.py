"""The tree of errors, which is the table of exit codes."""

from __future__ import annotations

import copy
import pickle

import pytest

from imcsim import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.ImcsimError, 1),
        (errors.UsageError, 2),
        (errors.InputFileError, 3),
        (errors.ConfigError, 3),
        (errors.ArchError, 3),
        (errors.RecipeError, 3),
        (errors.WorkloadError, 3),
        (errors.RunError, 3),
        (errors.FitError, 4),
        (errors.MappingError, 4),
        (errors.DeadlockError, 4),
    ],
)
def test_each_error_has_its_exit_code(error: type[errors.ImcsimError], exit_code: int) -> None:
    assert issubclass(error, errors.ImcsimError)
    assert error("a reason").exit_code == exit_code
    assert str(error("a reason")) == "a reason"


FILE_ERRORS = [errors.ArchError, errors.RecipeError]


@pytest.mark.parametrize("kind", FILE_ERRORS)
def test_the_error_of_a_yaml_file_shows_one_line_for_each_fault(
    kind: type[errors.ConfigError],
) -> None:
    error = kind(["chip.yaml:1:1: a", "chip.yaml:2:1: b"])
    assert str(error).splitlines() == error.faults
    assert kind("one").faults == ["one"]


@pytest.mark.parametrize("kind", FILE_ERRORS)
def test_the_error_of_a_yaml_file_comes_back_whole_from_another_process(
    kind: type[errors.ConfigError],
) -> None:
    error = kind(["a", "b"])
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert again.faults == ["a", "b"]
        assert str(again) == str(error)
