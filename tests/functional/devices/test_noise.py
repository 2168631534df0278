"""Read noise and input noise: what a read with them must look like, cell by cell and in sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.chip.nonidealities import InputNoise, ReadNoise
from imcsim.functional.devices.input_noise import drive
from imcsim.functional.devices.noisy_read import column_sums
from imcsim.functional.devices.read_draws import Read, ReadKind, line_normals, normal_quantiles
from imcsim.functional.devices.read_noise import cell_variance, column_sigma
from tests.functional.devices.layers import PEDESTAL, context, grid

READ = Read(ReadKind.COLUMN, layer=0, image=0, timestep=0, window=0, bit=0, row_block=0)
READS = 2000
ROWS, COLUMNS = 16, 8


def crossbar() -> npt.NDArray[np.float64]:
    return PEDESTAL + np.random.default_rng(0).integers(0, 16, (ROWS, COLUMNS)).astype(float)


def active_rows() -> npt.NDArray[np.bool_]:
    return np.random.default_rng(1).random(ROWS) < 0.5


def deviates(kind: ReadKind, lines: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """float32 (READS, lines): one read of each of many windows."""
    reads = (replace(READ, kind=kind, window=window) for window in range(READS))
    quantiles = normal_quantiles()
    return np.stack([line_normals(seed, read, lines, quantiles) for read in reads])


@pytest.fixture(scope="module")
def columns() -> npt.NDArray[np.float32]:
    return deviates(ReadKind.COLUMN, COLUMNS)


@pytest.fixture(scope="module")
def rows() -> npt.NDArray[np.float32]:
    return deviates(ReadKind.ROW, ROWS)


def read_noise(sigma: float, spread: str = "proportional") -> ReadNoise:
    return ReadNoise.model_validate({"model": "read_noise", "sigma": sigma, "spread": spread})


@pytest.mark.parametrize("spread", ["proportional", "constant"])
def test_one_draw_per_column_has_the_variance_of_one_draw_per_cell(
    spread: str, columns: npt.NDArray[np.float32]
) -> None:
    cells, active = crossbar(), active_rows()
    sigma = 0.05 * (cells if spread == "proportional" else np.full_like(cells, PEDESTAL + 15))
    by_cell = np.random.default_rng(2).normal(size=(READS, ROWS, COLUMNS)) * sigma
    slow = (by_cell * active[:, None]).sum(axis=1)
    variance = cell_variance(read_noise(0.05, spread), cells[:, None], context())[:, 0]
    fast = column_sigma(variance, active[None]) * columns
    exact = (sigma[active] ** 2).sum(axis=0) ** 0.5
    np.testing.assert_allclose(column_sigma(variance, active[None])[0], exact, rtol=1e-12)
    for sums in (slow, fast):
        np.testing.assert_allclose(sums.mean(axis=0) / exact, 0, atol=5 / READS**0.5)
        np.testing.assert_allclose(sums.std(axis=0) / exact, 1, atol=5 / (2 * READS) ** 0.5)
        correlation = np.corrcoef(sums.T) - np.eye(COLUMNS)
        assert np.abs(correlation).max() < 5 / READS**0.5


def test_reads_and_chips_are_independent(columns: npt.NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(columns, deviates(ReadKind.COLUMN, COLUMNS))
    bound = 5 / columns.size**0.5
    other_chip = deviates(ReadKind.COLUMN, COLUMNS, seed=1)
    assert abs(np.corrcoef(columns.ravel(), other_chip.ravel())[0, 1]) < bound
    assert abs(np.corrcoef(columns[1:].ravel(), columns[:-1].ravel())[0, 1]) < bound


def test_a_read_without_active_rows_or_without_noise_has_none() -> None:
    variance = cell_variance(read_noise(0.05), crossbar()[:, None], context())[:, 0]
    assert not column_sigma(variance, np.zeros((1, ROWS), bool)).any()
    for spread in ("proportional", "constant"):
        none = cell_variance(read_noise(0.0, spread), crossbar()[:, None], context())
        assert not none.any()


def input_noise(sigma: float) -> InputNoise:
    return InputNoise(model="input_noise", sigma=sigma)


def test_word_line_noise_reaches_all_columns_alike(rows: npt.NDArray[np.float32]) -> None:
    cells, active = crossbar(), active_rows()
    sums = drive(input_noise(0.05), np.tile(active, (READS, 1)), rows) @ cells
    used = cells[active]
    covariance = 0.05**2 * used.T @ used
    sigma = covariance.diagonal() ** 0.5
    np.testing.assert_allclose(
        (sums.mean(axis=0) - used.sum(axis=0)) / sigma, 0, atol=5 / READS**0.5
    )
    np.testing.assert_allclose(sums.std(axis=0) / sigma, 1, atol=5 / (2 * READS) ** 0.5)
    expected = covariance / np.outer(sigma, sigma)
    assert expected.min() > 0.5  # the columns err together
    np.testing.assert_allclose(np.corrcoef(sums.T), expected, atol=5 / READS**0.5)


def test_word_lines_err_independently(rows: npt.NDArray[np.float32]) -> None:
    assert np.abs(np.corrcoef(rows.T) - np.eye(ROWS)).max() < 5 / READS**0.5


def test_silent_rows_and_ideal_drivers_are_exact(rows: npt.NDArray[np.float32]) -> None:
    active = np.tile(active_rows(), (READS, 1))
    assert not drive(input_noise(0.3), active, rows)[~active].any()
    np.testing.assert_array_equal(drive(input_noise(0.0), active, rows), active)


def layer_read(
    cells: npt.NDArray[np.float64], noise: ReadNoise | None, inputs: InputNoise | None, window: int
) -> npt.NDArray[np.float64]:
    """Two planes of ten weights on crossbars of four, so three column blocks."""
    at = context(grid(rows=ROWS, c_out=10, crossbar=8))
    read = replace(READ, window=window)
    return column_sums(cells, active_rows()[:8], read, at, noise, inputs)


def layer_cells() -> npt.NDArray[np.float64]:
    return PEDESTAL + np.random.default_rng(3).integers(0, 16, (8, 2, 10)).astype(float)


def test_a_read_without_noise_is_the_sum_of_its_active_rows() -> None:
    cells = layer_cells()
    expected = cells[active_rows()[:8]].sum(axis=0)
    for noise, inputs in ((None, None), (read_noise(0.0), input_noise(0.0))):
        np.testing.assert_allclose(layer_read(cells, noise, inputs, 0), expected, rtol=1e-14)


def test_a_noisy_read_has_both_noises_and_drivers_of_their_own_for_each_crossbar() -> None:
    cells, count = layer_cells(), 400
    noise, inputs = read_noise(0.03), input_noise(0.05)
    sums = np.stack([layer_read(cells, noise, inputs, w) for w in range(count)])
    used = cells[active_rows()[:8]]
    power = (used**2).sum(axis=0)
    sigma = ((0.03**2 + 0.05**2) * power) ** 0.5
    np.testing.assert_allclose(sums.mean(axis=0), used.sum(axis=0), atol=5 * sigma.max() / 20)
    np.testing.assert_allclose(sums.std(axis=0) / sigma, 1, atol=5 / (2 * count) ** 0.5)
    # Weights 0 and 3 share drivers in both planes, 0 and 4 do not.
    same = np.corrcoef(sums[:, 0, 0], sums[:, 1, 3])[0, 1]
    shared = 0.05**2 * (used[:, 0, 0] * used[:, 1, 3]).sum() / (sigma[0, 0] * sigma[1, 3])
    assert same == pytest.approx(shared, abs=5 / count**0.5)
    assert shared > 0.4
    assert abs(np.corrcoef(sums[:, 0, 0], sums[:, 0, 4])[0, 1]) < 5 / count**0.5


def test_slices_in_separate_arrays_have_drivers_of_their_own() -> None:
    cells, count = np.full((8, 2, 8), PEDESTAL + 8), 400
    split = replace(grid(rows=8, c_out=8, crossbar=8), weights_per_crossbar=8, arrays_per_weight=2)
    reads = (replace(READ, window=window) for window in range(count))
    active = np.ones(8, bool)
    sums = np.stack(
        [column_sums(cells, active, r, context(split), None, input_noise(0.05)) for r in reads]
    )
    np.testing.assert_allclose(sums, np.broadcast_to(sums[..., :1], sums.shape), rtol=1e-12)
    assert abs(np.corrcoef(sums[:, 0, 0], sums[:, 1, 0])[0, 1]) < 5 / count**0.5
