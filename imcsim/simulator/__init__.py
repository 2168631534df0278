"""A whole run: chip and workload in, result out."""

from imcsim.simulator.options import RunOptions
from imcsim.simulator.result import Outcome, RunResult
from imcsim.simulator.run import Progress, run

__all__ = ["Outcome", "Progress", "RunOptions", "RunResult", "run"]
