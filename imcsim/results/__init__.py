"""Runs on disk: the run directory and its provenance."""

from imcsim.results.read import Run, newest_run, read_run
from imcsim.results.run_directory import check_target, write_run

__all__ = ["Run", "check_target", "newest_run", "read_run", "write_run"]
