"""Where a result comes from: versions, hashes, machine, time. The only file of a run that differs
between two equal runs."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

from imcsim import __version__
from imcsim.chip import Chip, chip_hash
from imcsim.network.workload import Workload

_PACKAGES = ("numpy", "numba", "pandas", "pyyaml", "pydantic")


def provenance_of(
    chip: Chip, workload: Workload, arguments: list[str], wall_s: float, seed: int
) -> dict[str, Any]:
    """Describe a run; `wall_s` is its duration [s]."""
    return {
        "command": arguments,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_s": wall_s,
        "seed": seed,
        "arch": {"name": chip.name, "sha256": chip_hash(chip)},
        "workload": {"name": workload.name, "sha256": workload.sha256},
        "versions": {"imcsim": __version__, **{name: _version(name) for name in _PACKAGES}},
        "python": platform.python_version(),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "host": platform.node(),
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_name(chip: Chip, workload: Workload) -> str:
    """``time_arch_workload_hash``: sorts by time, says what it is.

    Microseconds keep runs apart that a script starts in the same second.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return f"{now}_{_slug(chip.name)}_{_slug(workload.name)}_{chip_hash(chip)[:8]}"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)


def default_parent() -> Path:
    """Where runs go without ``--out``."""
    return Path("runs")


def command_line() -> list[str]:
    """The words this process was called with; the program's own path is left out."""
    return ["imcsim", *sys.argv[1:]]
