"""Whole runs with every convention of mapping and conversion: verified, priced, repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imcsim.activity import FIXED_ACTIONS, MEASURED_ACTIONS
from imcsim.simulator import RunOptions, RunResult, run
from tests.mapping.chips import rram64
from tests.small_networks import max_pool_network, random_workload, residual_network

# Whole runs: minutes without compiled kernels.
pytestmark = pytest.mark.needs_jit

ANALOG = {"mapping.signed_weights": "differential", "mapping.subtract": "analog"}
DEVICE = {"device.variation_model": "device"}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "flat rows": {"mapping.row_order": "flat"},
    "one kernel position per crossbar": {"mapping.row_order": "position"} | DEVICE,
    "reference column": {"mapping.signed_weights": "offset_column"} | DEVICE,
    "currents subtracted": ANALOG | DEVICE,
    "separate slices": {"mapping.slices": "separate"},
    "partial reads": {"crossbar.rows_per_read": 5},
    "R_off in the converter": {"device.off_current": "digital"} | DEVICE,
    "formula": {"adc.range": "formula"},
    "rounding down": {"adc.rounding": "down"},
    "converter errors": {"adc.offset_sigma_levels": 0.5, "adc.gain_sigma": 0.02},
    "converter noise": {"adc.noise_sigma_levels": 0.7},
    "all at once": ANALOG
    | {
        "mapping.row_order": "flat", "mapping.slices": "separate", "crossbar.rows_per_read": 7,
        "device.off_current": "digital", "adc.gain_sigma": 0.02, "device.bits": 3,
        "adc.range": "formula",
    },
}  # fmt: skip


def result(overrides: dict[str, Any], jobs: int = 1, memory: int = 1 << 30) -> RunResult:
    chip = rram64({"crossbar.rows": 16, "crossbar.cols": 24, "adc.bits": 7} | overrides)
    options = RunOptions(verify=True, seed=3, jobs=jobs, memory_bytes=memory, policy="static")
    return run(chip, random_workload(residual_network()), options)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_run_is_verified_and_its_counts_agree_with_the_mapping(name: str) -> None:
    found = result(CONVENTIONS[name])
    assert found.verification is not None
    activity, mapping = found.activity, found.mapping
    reads = activity.fixed_step[:, list(FIXED_ACTIONS).index("crossbar_read")]
    busy = activity.measured_step[..., list(MEASURED_ACTIONS).index("busy_read")]
    rows = activity.measured_step[..., list(MEASURED_ACTIONS).index("row_activation")]
    assert reads.sum() == mapping.reads
    # Reads with an active row are some of the reads, and have at most so many rows each.
    assert (busy <= reads).all()
    assert busy.any()
    assert (rows >= busy).all()
    assert (rows <= busy * mapping.layers[0].rows_per_read).all()
    assert np.isfinite(found.dynamic.energy_j).all()
    assert (found.dynamic.energy_j > 0).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_neither_workers_nor_batches_change_a_bit(name: str) -> None:
    one, other = result(CONVENTIONS[name]), result(CONVENTIONS[name], jobs=3, memory=40_000)
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.activity.measured_step, other.activity.measured_step)
    np.testing.assert_array_equal(one.dynamic.energy_j, other.dynamic.energy_j)


def test_row_orders_activate_the_same_rows_and_conductances_of_ideal_cells() -> None:
    """With converters that lose nothing, the order of the rows changes no spike; only how many
    reads are busy depends on it."""
    exact = {"device.variation": 0.0, "adc.range": "lossless", "adc.bits": 12}
    found = [result(exact | {"mapping.row_order": order}) for order in ("channel", "flat")]
    for action in ("row_activation", "cell_conductance"):
        index = list(MEASURED_ACTIONS).index(action)
        one, other = (r.activity.measured_step[..., index] for r in found)
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[0].logits, found[1].logits)


def test_partial_reads_cost_more_time_and_converter_energy() -> None:
    workload = random_workload(max_pool_network())
    chips = [rram64({"crossbar.rows_per_read": driven}) for driven in (64, 32, 16)]
    runs = [run(chip, workload, RunOptions(policy="static")) for chip in chips]
    cycles = [int(r.dynamic.cycles[0]) for r in runs]
    assert cycles == sorted(set(cycles))
    adc = [r.dynamic.energy_by_component_j["adc"] for r in runs]
    assert adc == sorted(set(adc))
