"""Everything that can go wrong, as one tree; each branch is one exit code of the command line.

::

    ImcsimError                1  the run failed
    ├── UsageError             2  the command was called wrongly
    ├── InputFileError         3  a file is missing, damaged or says something that is not allowed
    │   ├── ConfigError           a YAML file; all its faults together
    │   │   ├── ArchError             an architecture (or technology) file
    │   │   └── RecipeError           a training recipe
    │   ├── WorkloadError         a workload file
    │   └── RunError              a run directory
    └── FitError               4  everything is well-formed, but does not fit the chip
        ├── MappingError          too few tiles, too narrow membranes, too small a memory
        └── DeadlockError         the timing simulation can never finish

A user's mistake raises one of these and is shown as one line (or one line per fault) without a
traceback. Anything else that escapes is a bug of imcsim and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class ImcsimError(Exception):
    """Base of all errors that imcsim raises on purpose."""

    exit_code = 1


class UsageError(ImcsimError):
    """A call that cannot mean anything: an unknown key in ``--set``, a negative number of
    images."""

    exit_code = 2


class InputFileError(ImcsimError):
    """A file that cannot be used as it is."""

    exit_code = 3


class ConfigError(InputFileError):
    """One or more faults of a YAML file; all of them are reported together.

    Parameters
    ----------
    faults : sequence of str
        One line per fault: ``file:line:column: key: what is wrong, what is allowed``.
    """

    def __init__(self, faults: Sequence[str] | str):
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[str]]]:
        return type(self), (self.faults,)


class ArchError(ConfigError):
    """An architecture file (or a technology table) with faults."""


class RecipeError(ConfigError):
    """A training recipe with faults."""


class WorkloadError(InputFileError):
    """A workload file that is missing, damaged, or of a version or size that cannot be read."""


class RunError(InputFileError):
    """A run directory that is missing, unfinished or damaged."""


class FitError(ImcsimError):
    """Chip and workload are each valid, but the one cannot hold or execute the other."""

    exit_code = 4


class MappingError(FitError):
    """The network needs more tiles, wider membranes or more memory than the chip has."""


class DeadlockError(FitError):
    """Tasks wait for each other (or for buffer space that nobody will give back) for ever."""
