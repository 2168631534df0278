"""Runs to report on."""

from __future__ import annotations

import pytest

from imcsim.results import Run, read_run, write_run
from imcsim.simulator import RunResult
from tests.simulator.digits import result


@pytest.fixture(scope="session")
def found() -> RunResult:
    return result(policy="entropy", theta=0.2)


@pytest.fixture(scope="session")
def run(found: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("report") / "run"
    write_run(directory, found, {})
    return read_run(directory)


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Made with ``--no-static``."""
    directory = tmp_path_factory.mktemp("report") / "stopped"
    write_run(directory, result(policy="entropy", theta=0.2, static=False), {})
    return read_run(directory)
