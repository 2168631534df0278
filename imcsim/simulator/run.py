"""One run, as in Section III-B of Li et al., DAC 2023: map, time, compute, decide, price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from imcsim.activity import Activity
from imcsim.chip import Chip
from imcsim.energy import dynamic_energy, price_chip
from imcsim.errors import UsageError
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.counts import fixed_counts
from imcsim.functional.exits import THRESHOLD_POLICIES, decide, exits_now
from imcsim.functional.forward import ChipModel, FunctionalResult, StopRule, build_model
from imcsim.functional.images import batch_size, run_images
from imcsim.functional.readout import SigmaETables, evaluate
from imcsim.functional.verify import Verification, verify
from imcsim.mapping import Mapping, map_network
from imcsim.network.workload import Workload
from imcsim.simulator.correct import correct_chip
from imcsim.simulator.options import ResolvedOptions, RunOptions, resolve
from imcsim.simulator.pricing import Pricing
from imcsim.simulator.result import RunResult
from imcsim.timing import time_inference

Data = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class Progress:
    """Told what a run is doing; the default says nothing."""

    def stage(self, name: str, total: int = 0) -> None:
        """A new stage begins, with `total` images to go (0: unknown)."""

    def advance(self, images: int) -> None:
        """More images of this stage are done."""


def run(
    chip: Chip,
    workload: Workload,
    options: RunOptions | None = None,
    data: Data | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Simulate a workload on a chip.

    Parameters
    ----------
    chip : `imcsim.load_chip`.
    workload : `imcsim.read_workload`.
    options : images, timesteps, exit policy, seed, ...
    data : images uint8 and labels int64 to evaluate instead of the workload's.
    progress : told of stages and images.

    Raises
    ------
    UsageError
        Options that do not suit the workload.
    MappingError, DeadlockError
        The network does not fit the chip.
    VerificationError
        With ``verify=True``, if simulator and reference differ.
    """
    _check_kind("chip", chip, Chip, "load_chip")
    _check_kind("workload", workload, Workload, "read_workload")
    told = progress or Progress()
    asked = resolve(options or RunOptions(), workload, data)
    mapping = map_network(workload.network, chip)
    tables = SigmaETables(
        chip.sigma_e.sigma_lut_bytes, chip.sigma_e.entropy_lut_bytes, workload.network.classes
    )
    batch = batch_size(workload.network, len(asked.images), asked.jobs, asked.memory_bytes)
    # Cycles depend on the mapping only; a network that a buffer cannot hold is refused before any
    # image runs.
    told.stage("timing a timestep")
    timing = time_inference(mapping, asked.timesteps)
    bill = price_chip(chip, workload.network.classes)
    verification = _verify(mapping, workload, told) if options and options.verify else None
    told.stage("calibrating the ADCs")
    adc_steps = calibrated_steps(
        mapping, workload.calibration_images, workload.network.timesteps, asked.jobs
    )
    told.stage("programming the crossbars")
    model = build_model(mapping, asked.seed, adc_steps)
    model, policy, correction = correct_chip(model, workload, asked, tables, told.stage)
    asked = replace(asked, policy=policy)
    functional = _compute(model, asked, batch, tables, told)
    scores = evaluate(
        functional.logits.astype(np.int64), workload.network.logit_scale, asked.accumulate, tables
    )
    activity = _activity(mapping, functional)
    energy = dynamic_energy(activity, bill)
    steps = decide(asked.policy, scores, asked.labels, asked.timesteps)
    pricing = Pricing(chip, bill, activity, energy, timing)
    return RunResult(
        mapping=mapping,
        labels=asked.labels,
        timesteps=asked.timesteps,
        policy=asked.policy,
        accumulate=asked.accumulate,
        seed=asked.seed,
        logits=functional.logits,
        scores=scores,
        activity=activity,
        spikes=functional.spikes,
        saturations=functional.saturations,
        adc_steps=adc_steps,
        timing=timing,
        step_energy_j=pricing.step_energy_j(),
        once_energy_j=energy.once_j + pricing.leakage_j(timing.once_cycles),
        sigma_e_energy_j=bill.sigma_e_j + float(pricing.leakage_j(bill.sigma_e_cycles)),
        sigma_e_cycles=bill.sigma_e_cycles,
        area_by_component_m2=bill.area_m2,
        leakage_w=bill.total_leakage_w,
        dynamic=pricing.outcome(steps, scores, asked.policy.name in THRESHOLD_POLICIES),
        static=pricing.outcome(np.full_like(steps, asked.timesteps), scores, False)
        if asked.static
        else None,
        verification=verification,
        correction=correction,
    )


def _check_kind(name: str, given: object, wanted: type, reader: str) -> None:
    if not isinstance(given, wanted):
        raise UsageError(
            f"{name}: a {wanted.__name__} is needed, not {type(given).__name__} "
            f"(imcsim.{reader}(path) reads one)"
        )


def _verify(mapping: Mapping, workload: Workload, told: Progress) -> Verification:
    told.stage("verifying against the numpy reference")
    return verify(mapping, workload.images, workload.golden_logits)


def _compute(
    model: ChipModel,
    asked: ResolvedOptions,
    batch: int,
    tables: SigmaETables,
    told: Progress,
) -> FunctionalResult:
    """Run the images; every timestep, unless the static baseline is not wanted."""
    told.stage("running images", len(asked.images))
    stop = None if asked.static else _stop_rules(model.mapping, asked, tables)
    return run_images(model, asked.images, asked.timesteps, asked.jobs, batch, stop, told.advance)


def _stop_rules(
    mapping: Mapping, asked: ResolvedOptions, tables: SigmaETables
) -> Callable[[slice], StopRule]:
    """For each batch: which of its images exit, given their logits so far."""

    def rules(part: slice) -> StopRule:
        labels = asked.labels[part]

        def stop(
            logits: npt.NDArray[np.int64], running: npt.NDArray[np.int64]
        ) -> npt.NDArray[np.bool_]:
            scores = evaluate(logits, mapping.network.logit_scale, asked.accumulate, tables)
            return exits_now(asked.policy, scores, labels[running], asked.timesteps)

        return stop

    return rules


def _activity(mapping: Mapping, functional: FunctionalResult) -> Activity:
    once, step = fixed_counts(mapping)
    return Activity(
        layers=tuple(layer.name for layer in mapping.network.layers),
        fixed_once=once,
        fixed_step=step,
        measured_once=functional.measured_once,
        measured_step=functional.measured_step,
        simulated=functional.simulated,
    )
