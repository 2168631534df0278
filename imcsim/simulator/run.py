"""One run, as in Section III-B of Li et al., DAC 2023: map, time, compute, decide, price."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from imcsim.activity import Activity
from imcsim.chip import Chip
from imcsim.energy import (
    COMPONENTS,
    Bill,
    DynamicEnergy,
    dynamic_energy,
    energy_by_layer,
    price_chip,
)
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.counts import fixed_counts
from imcsim.functional.exits import THRESHOLD_POLICIES, decide, exits_now, predictions_at
from imcsim.functional.forward import FunctionalResult, StopRule, build_model
from imcsim.functional.images import batch_size, run_images
from imcsim.functional.readout import ExitScores, SigmaETables, evaluate
from imcsim.functional.verify import Verification, verify
from imcsim.mapping import Mapping, map_network
from imcsim.network.workload import Workload
from imcsim.simulator.options import ResolvedOptions, RunOptions, resolve
from imcsim.simulator.result import Outcome, RunResult
from imcsim.timing import TimingResult, time_inference

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
    told = progress or Progress()
    asked = resolve(options or RunOptions(), workload, data)
    mapping = map_network(workload.network, chip)
    tables = SigmaETables(
        chip.sigma_e.sigma_lut_bytes, chip.sigma_e.entropy_lut_bytes, workload.network.classes
    )
    # Cycles depend on the mapping only; a network that a buffer cannot hold is refused before any
    # image runs.
    told.stage("timing a timestep")
    timing = time_inference(mapping, asked.timesteps)
    bill = price_chip(chip, workload.network.classes)
    verification = _verify(mapping, workload, told) if options and options.verify else None
    told.stage("calibrating the ADCs")
    adc_steps = calibrated_steps(mapping, workload.calibration_images, workload.network.timesteps)
    functional = _compute(mapping, asked, adc_steps, tables, told)
    scores = evaluate(
        functional.logits.astype(np.int64), workload.network.logit_scale, asked.accumulate, tables
    )
    activity = _activity(mapping, functional)
    energy = dynamic_energy(activity, bill)
    steps = decide(asked.policy, scores, asked.labels, asked.timesteps)
    pricing = _Pricing(chip, bill, activity, energy, timing)
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
    )


def _verify(mapping: Mapping, workload: Workload, told: Progress) -> Verification:
    told.stage("verifying against the numpy reference")
    return verify(mapping, workload.images, workload.golden_logits)


def _compute(
    mapping: Mapping,
    asked: ResolvedOptions,
    adc_steps: dict[int, npt.NDArray[np.int64]],
    tables: SigmaETables,
    told: Progress,
) -> FunctionalResult:
    """Program the chip and run the images; every timestep, unless the static baseline is not
    wanted."""
    told.stage("programming the crossbars")
    model = build_model(mapping, asked.seed, adc_steps)
    told.stage("running images", len(asked.images))
    batch = batch_size(model, len(asked.images), asked.jobs, asked.memory_bytes)
    stop = None if asked.static else _stop_rules(mapping, asked, tables)
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


class _Pricing:
    """Turns numbers of timesteps into joules and cycles."""

    def __init__(
        self,
        chip: Chip,
        bill: Bill,
        activity: Activity,
        energy: DynamicEnergy,
        timing: TimingResult,
    ):
        self.chip, self.bill, self.activity, self.energy, self.timing = (
            chip,
            bill,
            activity,
            energy,
            timing,
        )

    def leakage_j(self, cycles: npt.ArrayLike) -> npt.NDArray[np.float64]:
        leaked: npt.NDArray[np.float64] = (
            np.asarray(cycles) / self.chip.chip.clock_hz * self.bill.total_leakage_w
        )
        return leaked

    def step_energy_j(self) -> npt.NDArray[np.float64]:
        """float64 (n, t): switching and leakage of each simulated timestep."""
        alive = np.arange(self.activity.timesteps) < self.activity.simulated[:, None]
        return self.energy.step_j + alive * self.leakage_j(self.timing.step_cycles)

    def outcome(
        self, steps: npt.NDArray[np.int64], scores: ExitScores, uses_sigma_e: bool
    ) -> Outcome:
        """Energy and latency if image i stops after ``steps[i]`` timesteps."""
        evaluations = steps if uses_sigma_e else np.zeros_like(steps)
        until = np.cumsum(self.timing.step_cycles)
        cycles = self.timing.once_cycles + until[steps - 1] + evaluations * self.bill.sigma_e_cycles
        sigma_e = evaluations * self.bill.sigma_e_j
        by_layer = energy_by_layer(self.activity, self.bill, steps)
        by_component = dict(zip(COMPONENTS, by_layer.sum(axis=0).tolist(), strict=True))
        by_component["sigma_e"] = float(sigma_e.mean())
        by_component["leakage"] = float(self.leakage_j(cycles).mean())
        return Outcome(
            steps=steps,
            predictions=predictions_at(scores, steps),
            energy_j=self.energy.until(steps) + sigma_e + self.leakage_j(cycles),
            cycles=cycles,
            energy_by_component_j=by_component,
            energy_by_layer_j=by_layer,
        )
