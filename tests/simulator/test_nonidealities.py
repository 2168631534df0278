"""Every entry of ``device.nonidealities`` in a chip's file: what it does to cells and to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.chip import Chip, load_chip
from imcsim.functional.cells import program
from imcsim.functional.devices import pedestal_levels
from imcsim.mapping import map_network
from imcsim.simulator import RunOptions, RunResult, run
from tests.chip.files import ARCH
from tests.functional.test_cells import one_weight_network
from tests.small_networks import max_pool_network, random_workload

# Whole runs: minutes without compiled kernels.
pytestmark = pytest.mark.needs_jit

Array = npt.NDArray[Any]

PROGRAMMING = "{model: programming, spread: proportional, sigma: 0.2}"
MODELS = {
    "programming": PROGRAMMING,
    "lognormal": "{model: programming, spread: lognormal, sigma: 0.2}",
    "level_dependent": "{model: programming, spread: level_dependent}",
    "weights": "{model: programming, spread: proportional, sigma: 0.2, granularity: weight}",
    "program_verify": f"{PROGRAMMING}, {{model: program_verify, tolerance: 0.05, attempts: 20}}",
    "stuck_at": "{model: stuck_at, on: 0.05, off: 0.1}",
    "relaxation": "{model: drift, time_s: 1e6, law: relaxation}",
    "power_law": "{model: drift, time_s: 100, law: power_law, exponent_sigma: 0.05}",
    "temperature": "{model: temperature, kelvin: 350, resistance_per_kelvin: 2e-3,"
    " activation_ev: 0.1}",
    "wires": "{model: wire_resistance, ohm_per_cell: 5, method: fast}",
    "exact wires": "{model: wire_resistance, ohm_per_cell: 5, method: exact}",
    "read_noise": "{model: read_noise, sigma: 0.05}",
    "constant noise": "{model: read_noise, sigma: 0.02, spread: constant}",
    "input_noise": "{model: input_noise, sigma: 0.05}",
}
NOTHING = {
    "programming": "{model: programming, spread: proportional, sigma: 0}",
    "lognormal": "{model: programming, spread: lognormal, sigma: 0}",
    "level_dependent": "{model: programming, spread: level_dependent, sigma_coefficients: [0]}",
    "weights": "{model: programming, spread: lognormal, sigma: 0, granularity: weight}",
    "stuck_at": "{model: stuck_at, on: 0, off: 0}",
    "relaxation": "{model: drift, time_s: 0, law: relaxation}",
    "power_law": "{model: drift, time_s: 1e6, law: power_law, exponent: 0, exponent_sigma: 0}",
    "temperature": "{model: temperature, kelvin: 300, resistance_per_kelvin: 2e-3,"
    " activation_ev: 0.1}",
    "wires": "{model: wire_resistance, ohm_per_cell: 0, method: exact}",
    "read_noise": "{model: read_noise, sigma: 0}",
    "input_noise": "{model: input_noise, sigma: 0}",
}


def chip_with(folder: Path, entries: str, crossbar: str = "rows: 16\n  cols: 16") -> Chip:
    file = folder / "chip.yaml"
    file.write_text(
        f"format: imcsim-arch/1\nextends: {ARCH / 'rram64.yaml'}\n"
        f"crossbar:\n  {crossbar}\n"
        f"device:\n  variation: 0\n  nonidealities: [{entries}]\n"
    )
    return load_chip(file)


def result(chip: Chip, **options: Any) -> RunResult:
    said: dict[str, Any] = {"seed": 3, "policy": "static", "verify": True} | options
    return run(chip, random_workload(max_pool_network(seed=4)), RunOptions(**said))


def assert_same(one: RunResult, other: RunResult) -> None:
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.activity.measured_step, other.activity.measured_step)
    np.testing.assert_array_equal(one.dynamic.energy_j, other.dynamic.energy_j)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_changes_a_run_and_only_its_seed_decides_how(name: str, tmp_path: Path) -> None:
    chip = chip_with(tmp_path, MODELS[name])
    found = result(chip)
    assert found.verification is not None  # of the ideal copy
    assert (found.logits != result(chip_with(tmp_path, "")).logits).any()
    assert_same(found, result(chip, jobs=2, memory_bytes=50_000))
    other = result(chip, seed=4)
    drawn = name not in ("temperature", "wires", "exact wires")
    assert (other.logits != found.logits).any() is np.bool_(drawn)


@pytest.mark.parametrize("name", NOTHING)
def test_a_model_without_strength_changes_no_bit(name: str, tmp_path: Path) -> None:
    for off_current in ("corrected", "digital"):
        chip, ideal = (
            load_with(chip_with(tmp_path, entry), off_current) for entry in (NOTHING[name], "")
        )
        assert_same(result(chip), result(ideal))


def load_with(chip: Chip, off_current: str) -> Chip:
    device = chip.device.model_copy(update={"off_current": off_current})
    return chip.model_copy(update={"device": device})


@pytest.mark.parametrize("granularity", ["weight", "device"])
def test_variation_is_short_for_programming(granularity: str, tmp_path: Path) -> None:
    entry = PROGRAMMING.replace("}", f", granularity: {granularity}}}")
    short = load_chip(
        ARCH / "rram64.yaml",
        {"device.variation": 0.2, "device.variation_model": granularity, "crossbar.rows": 16,
         "crossbar.cols": 16},
    )  # fmt: skip
    assert_same(result(chip_with(tmp_path, entry)), result(short))


# Cells


def cells(folder: Path, entries: str) -> Array:
    """Conductances (400, 2, 300) in levels, of weights that are stored as levels 8 and 11."""
    chip = chip_with(folder, entries, "rows: 64")
    chip = chip.model_copy(update={"sigma_e": chip.sigma_e.model_copy(update={"fifo_depth": 512})})
    mapping = map_network(one_weight_network(11), chip)
    placed = mapping.layers[0]
    levels = program(mapping, placed, 0).levels.reshape(400, 2, 300).astype(float)
    return levels + pedestal_levels(chip)


OFF, ON = 15 / 9, 15 + 15 / 9


def test_stuck_cells_are_the_share_asked_for(tmp_path: Path) -> None:
    found = cells(tmp_path, MODELS["stuck_at"])
    for level, share in ((ON, 0.05), (OFF, 0.1)):
        stuck = np.isclose(found, level, atol=1e-5).mean()
        assert stuck == pytest.approx(share, abs=5 * (share / found.size) ** 0.5)


def test_verifying_narrows_the_spread(tmp_path: Path) -> None:
    once = cells(tmp_path, PROGRAMMING) / cells(tmp_path, "")
    verified = cells(tmp_path, MODELS["program_verify"]) / cells(tmp_path, "")
    assert once.std() == pytest.approx(0.2, rel=0.01)
    assert verified.std() < 0.05
    # P(|0.2·n| > 0.05) = 0.80 for every one of 20 writes
    assert (np.abs(verified - 1) > 0.05 + 1e-6).mean() == pytest.approx(0.8026**20, abs=0.001)


def test_conductances_drift_with_time(tmp_path: Path) -> None:
    drifts = [
        cells(tmp_path, f"{{model: drift, time_s: {time}, law: power_law}}").mean()
        for time in (0, 1e3, 1e6)
    ]
    assert drifts == sorted(drifts, reverse=True)
    # (1 + t / 20 s)^−0.049, spread over cells by 0.008
    assert drifts[2] / drifts[0] == pytest.approx((1 + 5e4) ** -0.049, rel=0.01)


def test_warm_filaments_conduct_less(tmp_path: Path) -> None:
    entry = "{model: temperature, kelvin: 350, resistance_per_kelvin: 2e-3, activation_ev: 0}"
    warm, cold = cells(tmp_path, entry), cells(tmp_path, "")
    np.testing.assert_allclose((warm - OFF) / (cold - OFF), 1 / 1.1, rtol=1e-5)


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_wires_lower_every_current(method: str, tmp_path: Path) -> None:
    entry = f"{{model: wire_resistance, ohm_per_cell: 1, method: {method}}}"
    lossy, ideal = cells(tmp_path, entry), cells(tmp_path, "")
    assert (lossy < ideal).all()
    # The far corner of a full crossbar loses most, the near one next to nothing.
    share = lossy[:64, 0, :32] / ideal[:64, 0, :32]
    assert share[0, -1] == share.min() < 0.9
    assert share[-1, 0] == share.max() > 0.98


def test_reference_columns_and_separate_slices_have_cells_of_their_own(tmp_path: Path) -> None:
    entries = ", ".join(
        (MODELS["program_verify"], MODELS["stuck_at"], MODELS["relaxation"], MODELS["wires"],
         MODELS["temperature"], MODELS["read_noise"], MODELS["input_noise"])
    )  # fmt: skip
    for signed_weights, slices in (("offset_column", "adjacent"), ("differential", "separate")):
        chip = chip_with(tmp_path, entries)
        rules = {"signed_weights": signed_weights, "slices": slices}
        chip = chip.model_copy(update={"mapping": chip.mapping.model_copy(update=rules)})
        assert_same(result(chip), result(chip, jobs=2, memory_bytes=50_000))
