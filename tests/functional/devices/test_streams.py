from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.functional.devices import CellGrid, CellStream, Kind
from imcsim.mapping import map_network
from tests.functional.devices.layers import context, grid
from tests.mapping.chips import rram64
from tests.mapping.networks import zero_network
from tests.small_networks import linear


def independent(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> bool:
    """Whether two sets of draws are uncorrelated, within five standard deviations."""
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    return bool(abs(correlation) < 5 / first.size**0.5)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_crossbar_has_the_stream_of_its_own_key(kind: Kind) -> None:
    cells = grid(rows=130, c_out=70, layer=5)
    drawn = CellStream(2**64 - 1, kind, cells).normal(2)
    assert drawn.shape == (130, 2, 70)
    # 3 × 3 crossbars, numbered down the rows first; number 7 holds rows 64..127, weights 64..69.
    key = np.array([2**64 - 1, (int(kind) << 60) + (5 << 32) + 7], np.uint64)
    stream = np.random.Generator(np.random.Philox(key=key)).standard_normal((64, 32, 2))
    np.testing.assert_array_equal(drawn[64:128, :, 64:].transpose(0, 2, 1), stream[:, :6])


def test_kinds_keep_the_numbers_that_existing_chips_were_drawn_with() -> None:
    assert (Kind.WEIGHT, Kind.DEVICE) == (0, 1)


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_a_draw_does_not_depend_on_how_full_its_crossbar_is(draw: str) -> None:
    full = getattr(CellStream(3, Kind.DEVICE, grid(rows=64, c_out=32)), draw)(2)
    part = getattr(CellStream(3, Kind.DEVICE, grid(rows=10, c_out=7)), draw)(2)
    np.testing.assert_array_equal(full[:10, :, :7], part)


def test_other_rows_on_a_crossbar_leave_the_others_as_they_are() -> None:
    # One kernel position per crossbar: blocks of 40 rows instead of 64.
    apart = replace(grid(rows=120, c_out=32), row_starts=(0, 40, 80))
    packed = grid(rows=192, c_out=32)
    drawn, full = (CellStream(1, Kind.DEVICE, cells).normal(2) for cells in (apart, packed))
    np.testing.assert_array_equal(drawn[40:80], full[64:104])


@pytest.mark.parametrize(
    ("changed", "attempt"),
    [({"seed": 1}, 0), ({"seed": 2**63}, 0), ({"kind": Kind.DRIFT}, 0),
     ({"grid": grid(layer=1)}, 0), ({}, 1), ({}, 2)],
    ids=str,
)  # fmt: skip
def test_chips_kinds_layers_and_attempts_are_independent(
    changed: dict[str, object], attempt: int
) -> None:
    stream = CellStream(0, Kind.DEVICE, grid())
    first = stream.normal(2)
    np.testing.assert_array_equal(first, stream.normal(2))
    second = replace(stream, **changed).normal(2, attempt)  # type: ignore[arg-type]
    assert independent(first, second)


def test_crossbars_planes_and_neighbours_are_independent() -> None:
    drawn = CellStream(0, Kind.DEVICE, grid()).normal(2)
    assert independent(drawn[:64], drawn[64:128])
    assert independent(drawn[:, :, :32], drawn[:, :, 32:64])
    assert independent(drawn[:, 0], drawn[:, 1])
    assert independent(drawn[:-1], drawn[1:])
    assert independent(drawn[..., :-1], drawn[..., 1:])


def test_draws_have_the_distribution_they_are_asked_for() -> None:
    stream = CellStream(0, Kind.DEVICE, grid())
    normal, uniform = stream.normal(2), stream.uniform(2)
    # 65,536 draws, five standard deviations: of a mean 5σ/256, of a variance 5·√2·σ²/256.
    assert normal.mean() == pytest.approx(0, abs=5 / 256)
    assert normal.var() == pytest.approx(1, abs=5 * 2**0.5 / 256)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=5 / 12**0.5 / 256)


def test_the_grid_of_a_mapped_layer_is_its_mapping() -> None:
    chip = rram64({"sigma_e.fifo_depth": 512})
    placed = map_network(zero_network("fc", [linear("fc", -1, 70)], (130, 1, 1)), chip).layers[0]
    assert CellGrid.of(placed) == grid(rows=130, c_out=70)


def test_references_are_drawn_after_the_weights_of_their_crossbar() -> None:
    plain = grid(rows=64, c_out=70)
    with_reference = CellStream(4, Kind.DEVICE, replace(plain, has_reference=True)).normal(2)
    assert with_reference.shape == (64, 2, 73)
    np.testing.assert_array_equal(
        with_reference[..., :70], CellStream(4, Kind.DEVICE, plain).normal(2)
    )
    stream = np.random.Generator(np.random.Philox(key=np.array([4, (1 << 60) + 2], np.uint64)))
    stream.standard_normal((64, 32, 2))
    np.testing.assert_array_equal(with_reference[..., 72], stream.standard_normal((64, 1, 2))[:, 0])


def test_slices_in_separate_arrays_have_streams_of_their_own() -> None:
    cells = replace(grid(rows=128, c_out=64), weights_per_crossbar=64, arrays_per_weight=2)
    drawn = CellStream(4, Kind.DEVICE, cells).normal(4)
    # Array 1 of column block 0, row block 1, is crossbar 3 and holds planes 2 and 3.
    stream = np.random.Generator(np.random.Philox(key=np.array([4, (1 << 60) + 3], np.uint64)))
    expected = stream.standard_normal((64, 64, 2)).transpose(0, 2, 1)
    np.testing.assert_array_equal(drawn[64:, 2:], expected)


def test_whole_weights_are_drawn_alike_wherever_their_slices_are() -> None:
    apart = replace(grid(), arrays_per_weight=2, has_reference=True)
    drawn = [context(cells).stream(Kind.WEIGHT).normal(1) for cells in (grid(), apart)]
    np.testing.assert_array_equal(*drawn)
