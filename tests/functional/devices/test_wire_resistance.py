from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from imcsim.chip.nonidealities import WireResistance
from imcsim.functional.devices.wire_resistance import (
    apply,
    exact_transfer,
    fast_transfer,
    nodal_currents,
)
from tests.functional.devices.layers import LEVEL_S, PEDESTAL, context, grid

CROSSSIM = Path(__file__).parent.parent / "data" / "wire_resistance.npz"
OHM = 1 / 20e3
"""1 Ω per cell, with conductances in units of G_on = 1 / 20 kΩ."""
CELLS = {
    "uniform": lambda rng, shape: rng.integers(0, 16, shape) / 15,
    "binary": lambda rng, shape: rng.integers(0, 2, shape),
    "on": lambda rng, shape: np.ones(shape),
    "off": lambda rng, shape: np.zeros(shape),
}

Array = npt.NDArray[np.float64]


def array(kind: str, shape: tuple[int, int] = (64, 64), seed: int = 0) -> Array:
    """Cells of 20 to 200 kΩ in units of G_on."""
    return np.asarray(0.1 + 0.9 * CELLS[kind](np.random.default_rng(seed), shape))


def reads(density: float, rows: int = 64, seed: int = 1) -> Array:
    inputs = np.random.default_rng(seed).random((rows, 8)) < density
    return inputs[:, inputs.any(axis=0)].astype(float)


def wires(**values: Any) -> WireResistance:
    return WireResistance.model_validate(
        {"model": "wire_resistance", "ohm_per_cell": 1.0, "method": "fast"} | values
    )


def network(conductance: Array, ohm: float, inputs: Array) -> Array:
    """Currents by Kirchhoff's current law at all nodes, resistor by resistor; one read."""
    rows, cols = conductance.shape
    nodes = lil_matrix((2 * rows * cols, 2 * rows * cols))
    source = np.zeros(2 * rows * cols)
    amplifier = np.zeros((cols, 2 * rows * cols))

    def word(i: int, j: int) -> int:
        return i * cols + j

    def bit(i: int, j: int) -> int:
        return rows * cols + i * cols + j

    def resistor(a: int, b: int, g: float) -> None:
        nodes[a, a] += g
        nodes[b, b] += g
        nodes[a, b] -= g
        nodes[b, a] -= g

    for i in range(rows):
        nodes[word(i, 0), word(i, 0)] += 1 / ohm
        source[word(i, 0)] = inputs[i] / ohm
        for j in range(cols):
            resistor(word(i, j), bit(i, j), conductance[i, j])
            if j + 1 < cols:
                resistor(word(i, j), word(i, j + 1), 1 / ohm)
            if i + 1 < rows:
                resistor(bit(i, j), bit(i + 1, j), 1 / ohm)
    for j in range(cols):
        nodes[bit(rows - 1, j), bit(rows - 1, j)] += 1 / ohm
        amplifier[j, bit(rows - 1, j)] = 1 / ohm
    return np.asarray(amplifier @ spsolve(nodes.tocsc(), source))


def test_the_exact_solution_meets_crosssim() -> None:
    with np.load(CROSSSIM) as data:
        currents = nodal_currents(data["G_norm"].T, OHM, data["x"].astype(float))
        some = data["I_ideal"] > 0
        np.testing.assert_allclose(currents[some], data["I_nodal"][some], rtol=1e-6)
        np.testing.assert_allclose(currents[some], data["I_crosssim"][some], rtol=1e-6)
        np.testing.assert_allclose(currents, data["I_nodal"], atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 7), (9, 3)])
@pytest.mark.parametrize("ohm", [1e-4, 0.1, 2.0])
def test_the_exact_solution_is_that_of_the_resistor_network(
    shape: tuple[int, int], ohm: float
) -> None:
    cells = array("uniform", shape)
    inputs = np.random.default_rng(2).random(shape[0])
    expected = network(cells, ohm, inputs)
    np.testing.assert_allclose(nodal_currents(cells, ohm, inputs[:, None])[:, 0], expected, 1e-10)


def test_one_cell_is_in_series_with_its_two_segments() -> None:
    assert exact_transfer(np.array([[0.5]]), 0.1)[0, 0] == pytest.approx(1 / (2 + 0.2))
    assert fast_transfer(np.array([[0.5]]), 0.1)[0, 0] == pytest.approx(1 / (2 + 0.2), rel=5e-3)


def test_open_rows_are_not_there() -> None:
    cells = array("uniform", (6, 5))
    read = np.array([0, 1, 0, 1, 1, 0.0])
    # A cut-off row's word line floats; its bit-line nodes are plain wire.
    expected = network(np.where(read[:, None] > 0, cells, 1e-12), 0.05, read)
    found = nodal_currents(cells, 0.05, read[:, None], open_rows=True)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("density", [0.05, 0.15, 0.3, 0.5])
def test_the_approximation_is_within_two_per_cent(kind: str, density: float) -> None:
    cells, inputs = array(kind), reads(density)
    exact = nodal_currents(cells, OHM, inputs)
    fast = fast_transfer(cells, OHM).T @ inputs
    np.testing.assert_allclose(fast, exact, rtol=0.02)
    np.testing.assert_allclose(fast, exact, rtol=0.006)  # what it reaches


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("density", [0.05, 0.15, 0.5])
def test_so_is_the_one_for_open_rows_at_their_mean_activity(kind: str, density: float) -> None:
    cells, inputs = array(kind), reads(density)
    exact = nodal_currents(cells, OHM, inputs, open_rows=True)
    np.testing.assert_allclose(fast_transfer(cells, OHM, density).T @ inputs, exact, rtol=0.02)


@pytest.mark.parametrize("kind", list(CELLS))
def test_every_effective_conductance_is_within_one_per_cent(kind: str) -> None:
    cells = array(kind)
    exact = exact_transfer(cells, OHM)
    np.testing.assert_allclose(fast_transfer(cells, OHM), exact, rtol=0.01)
    assert (exact < cells).mean() > 0.99  # nearly every cell loses


def test_many_arrays_are_each_solved_by_themselves() -> None:
    arrays = np.stack([array("uniform", (7, 5), seed) for seed in range(6)]).reshape(2, 3, 7, 5)
    for load in (1.0, 0.3):
        together = fast_transfer(arrays, 0.01, load)
        np.testing.assert_allclose(together[1, 2], fast_transfer(arrays[1, 2], 0.01, load), 1e-12)


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_wires_without_resistance_change_nothing(method: str) -> None:
    cells = PEDESTAL + np.arange(24.0).reshape(4, 2, 3) % 16
    small = context(grid(rows=4, c_out=3, crossbar=8))
    np.testing.assert_array_equal(
        apply(wires(ohm_per_cell=0.0, method=method), cells, small), cells
    )
    tiny = apply(wires(ohm_per_cell=1e-9, method=method), cells, small)
    np.testing.assert_allclose(tiny, cells, rtol=1e-10)
    np.testing.assert_array_equal(exact_transfer(cells[:, 0], 0.0), cells[:, 0])


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_a_layer_is_solved_crossbar_by_crossbar_with_neighbouring_planes(method: str) -> None:
    # 8×8 crossbars of 4 weights with 2 planes: 10 rows and 5 weights lie on 2 × 2 of them.
    cells = PEDESTAL + np.random.default_rng(3).integers(0, 16, (10, 2, 5)).astype(float)
    layer = context(grid(rows=10, c_out=5, crossbar=8))
    effective = apply(wires(ohm_per_cell=200.0, method=method), cells, layer)
    lower_right = np.full((8, 8), PEDESTAL)
    lower_right[:2, 0], lower_right[:2, 1] = cells[8:, 0, 4], cells[8:, 1, 4]
    solve = exact_transfer if method == "exact" else fast_transfer
    expected = solve(lower_right * LEVEL_S, 200.0) / LEVEL_S
    np.testing.assert_allclose(effective[8:, :, 4], expected[:2, :2], rtol=1e-9)
    upper_left = cells[:8, :, :4].transpose(0, 2, 1).reshape(8, 8)
    expected = solve(upper_left * LEVEL_S, 200.0) / LEVEL_S
    np.testing.assert_allclose(
        effective[:8, :, :4].transpose(0, 2, 1).reshape(8, 8), expected, rtol=1e-9
    )


def test_open_rows_lose_less_than_grounded_ones() -> None:
    cells = np.full((8, 2, 4), PEDESTAL + 15)
    layer = context(grid(rows=8, c_out=4, crossbar=8))
    grounded = apply(wires(ohm_per_cell=50.0), cells, layer)
    opened = apply(wires(ohm_per_cell=50.0, inactive_rows="open", activity=0.1), cells, layer)
    full = apply(wires(ohm_per_cell=50.0, inactive_rows="open", activity=1.0), cells, layer)
    assert (opened > grounded).all()
    np.testing.assert_array_equal(full, grounded)


def test_separate_arrays_and_references_are_solved_where_they_stand() -> None:
    # Six weights of two planes on 4×4 crossbars: three and a reference per crossbar, one plane
    # on each of two arrays.
    cells = PEDESTAL + np.random.default_rng(4).integers(0, 16, (4, 2, 8)).astype(float)
    square = grid(rows=4, c_out=6, crossbar=4)
    split = replace(square, weights_per_crossbar=3, arrays_per_weight=2, has_reference=True)
    effective = apply(wires(ohm_per_cell=200.0, method="exact"), cells, context(split))
    # Column block 1: weights 3, 4, 5 and the second reference.
    for plane in (0, 1):
        held = cells[:, plane, [3, 4, 5, 7]]
        expected = exact_transfer(held * LEVEL_S, 200.0) / LEVEL_S
        np.testing.assert_allclose(effective[:, plane, [3, 4, 5, 7]], expected, rtol=1e-9)
