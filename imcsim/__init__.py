"""Cycle-level simulator of an in-memory-computing chip that runs spiking neural networks.

A script needs only the names exported here::

    import imcsim

    chip = imcsim.load_chip("arch/rram64.yaml")
    workload = imcsim.read_workload("workloads/vgg16_cifar10.npz")
    result = imcsim.run(chip, workload)

Each name is imported when it is first used, so that ``import imcsim`` itself stays cheap: Numba,
pandas and matplotlib take about a second and are not needed to read a file or to print a help text.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imcsim.chip import Chip as Chip
    from imcsim.chip import load_chip as load_chip
    from imcsim.errors import ArchError as ArchError
    from imcsim.errors import DeadlockError as DeadlockError
    from imcsim.errors import FitError as FitError
    from imcsim.errors import ImcsimError as ImcsimError
    from imcsim.errors import InputFileError as InputFileError
    from imcsim.errors import MappingError as MappingError
    from imcsim.errors import RunError as RunError
    from imcsim.errors import UsageError as UsageError
    from imcsim.errors import WorkloadError as WorkloadError
    from imcsim.network import Network as Network
    from imcsim.network import Workload as Workload
    from imcsim.network import read_workload as read_workload
    from imcsim.results import read_run as read_run
    from imcsim.simulator import RunOptions as RunOptions
    from imcsim.simulator import RunResult as RunResult
    from imcsim.simulator import run as run

__version__ = "0.1.0"

# Type checkers read the block above, Python reads this table; a test keeps the two equal.
_MODULE_OF = {
    "ArchError": "imcsim.errors",
    "Chip": "imcsim.chip",
    "DeadlockError": "imcsim.errors",
    "FitError": "imcsim.errors",
    "ImcsimError": "imcsim.errors",
    "InputFileError": "imcsim.errors",
    "MappingError": "imcsim.errors",
    "Network": "imcsim.network",
    "RunError": "imcsim.errors",
    "RunOptions": "imcsim.simulator",
    "RunResult": "imcsim.simulator",
    "UsageError": "imcsim.errors",
    "Workload": "imcsim.network",
    "WorkloadError": "imcsim.errors",
    "load_chip": "imcsim.chip",
    "read_run": "imcsim.results",
    "read_workload": "imcsim.network",
    "run": "imcsim.simulator",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    """Import an exported name on first use (PEP 562); later uses find it in the module itself."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
