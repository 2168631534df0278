from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from imcsim.chip.nonidealities import NonIdeality
from imcsim.functional.devices import (
    drift,
    perturbed_weights,
    programmed_cells,
    programming,
    stuck_at,
    temperature,
    wire_resistance,
)
from tests.functional.devices.layers import PEDESTAL, at_level, context, grid

SMALL = grid(rows=16, c_out=8, crossbar=16)
ONE: TypeAdapter[NonIdeality] = TypeAdapter(NonIdeality)


def entry(model: str, **values: Any) -> Any:
    return ONE.validate_python({"model": model} | values)


PROGRAMMING = entry("programming", spread="proportional", sigma=0.2)
VERIFY = entry("program_verify", tolerance=0.05, attempts=8)
DRIFT = entry("drift", time_s=3600.0, law="power_law")
STUCK = entry("stuck_at", on=0.1, off=0.1)
WARM = entry("temperature", kelvin=350.0, resistance_per_kelvin=0.001, activation_ev=0.1)
WIRES = entry("wire_resistance", ohm_per_cell=20.0, method="fast")
NOISE = [entry("read_noise", sigma=0.1), entry("input_noise", sigma=0.1)]
WEIGHTS = entry("programming", spread="proportional", sigma=0.2, granularity="weight")


def test_the_models_act_in_the_order_of_the_physics() -> None:
    cells, at = at_level(7, SMALL), context(SMALL)
    expected = programming.write_and_verify(PROGRAMMING, VERIFY, cells, at)
    expected = drift.apply(DRIFT, expected, at)
    expected = stuck_at.apply(STUCK, expected, at)
    expected = temperature.apply(WARM, expected, at)
    expected = wire_resistance.apply(WIRES, expected, at)
    models = [PROGRAMMING, VERIFY, DRIFT, STUCK, WARM, WIRES]
    np.testing.assert_array_equal(programmed_cells([*models, *NOISE], cells, at), expected)


def test_the_order_of_the_entries_means_nothing() -> None:
    cells, at = at_level(7, SMALL), context(SMALL)
    results = [
        programmed_cells(models, cells, at)
        for models in permutations([PROGRAMMING, DRIFT, STUCK, WARM])
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_no_entries_leave_ideal_cells() -> None:
    cells = at_level(7, SMALL)
    for models in ([], NOISE, [WEIGHTS]):
        np.testing.assert_array_equal(programmed_cells(models, cells, context(SMALL)), cells)


def test_a_model_draws_the_same_whether_others_are_there_or_not() -> None:
    cells, at = at_level(7, SMALL), context(SMALL)
    alone = programmed_cells([STUCK], cells, at)
    together = programmed_cells([PROGRAMMING, STUCK], cells, at)
    np.testing.assert_array_equal(alone == PEDESTAL + 15, together == PEDESTAL + 15)
    free = alone == PEDESTAL + 7
    written = programmed_cells([PROGRAMMING], cells, at)
    np.testing.assert_array_equal(together[free], written[free])


def test_only_weight_granularity_changes_the_weights() -> None:
    weights, at = np.full((16, 8), 100), context(SMALL)
    for models in ([], [PROGRAMMING], [STUCK]):
        assert perturbed_weights(models, weights, at) is weights
    expected = programming.perturb_weights(WEIGHTS, weights, at)
    np.testing.assert_array_equal(perturbed_weights([STUCK, WEIGHTS], weights, at), expected)
    assert (expected != weights).mean() > 0.9
    small = perturbed_weights([WEIGHTS], weights // 20, at, largest=5)
    assert small.max() == 5
