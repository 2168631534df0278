"""Discrete-event simulation of one timestep: task graph, engine, cycles."""

from imcsim.timing.engine import Schedule, simulate
from imcsim.timing.inference import TimingResult, time_inference

__all__ = ["Schedule", "TimingResult", "simulate", "time_inference"]
