from __future__ import annotations

import pytest

from imcsim.functional.devices import (
    CellContext,
    pedestal_levels,
    taken_after_converter,
    taken_before_converter,
)
from imcsim.mapping import map_network
from tests.functional.devices.layers import context, grid
from tests.mapping.chips import rram64
from tests.mapping.networks import zero_network
from tests.small_networks import linear


@pytest.mark.parametrize(("bits", "ratio"), [(4, 10), (1, 10), (4, 1000), (8, 4.5)])
def test_the_pedestal_is_the_share_of_r_off_in_levels(bits: int, ratio: float) -> None:
    chip = rram64({"device.bits": bits, "device.on_off_ratio": ratio})
    assert pedestal_levels(chip) == pytest.approx((2**bits - 1) / (ratio - 1))


@pytest.mark.parametrize(
    ("choice", "before", "after"),
    [("corrected", 1, 0), ("digital", 0, 1), ("uncorrected", 0, 0)],
)
def test_the_whole_pedestal_is_taken_off_once_or_never(
    choice: str, before: int, after: int
) -> None:
    chip = rram64({"device.off_current": choice})
    assert taken_before_converter(chip) == before * pedestal_levels(chip)
    assert taken_after_converter(chip) == after * pedestal_levels(chip)


def test_a_context_takes_its_values_from_chip_and_layer() -> None:
    chip = rram64({"sigma_e.fifo_depth": 512})
    placed = map_network(zero_network("fc", [linear("fc", -1, 70)], (130, 1, 1)), chip).layers[0]
    taken, wanted = CellContext.of(chip, placed, 3), context(grid(rows=130, c_out=70), seed=3)
    assert taken.grid == wanted.grid
    assert (taken.seed, taken.max_level) == (3, 15)
    assert taken.pedestal == pytest.approx(wanted.pedestal)
    assert taken.level_s == pytest.approx(wanted.level_s)
    assert taken.on * taken.level_s == pytest.approx(1 / 20e3)


@pytest.mark.parametrize("signed_weights", ["offset", "offset_column", "differential"])
@pytest.mark.parametrize("slices", ["adjacent", "separate"])
def test_every_mapping_fits_its_crossbars(signed_weights: str, slices: str) -> None:
    options = {"mapping.signed_weights": signed_weights, "mapping.slices": slices}
    chip = rram64(options | {"sigma_e.fifo_depth": 512})
    network = zero_network("fc", [linear("fc", -1, 70)], (130, 1, 1))
    mapping = map_network(network, chip)
    cells = CellContext.of(chip, mapping.layers[0], 0).grid
    assert cells.row_blocks * cells.col_blocks * cells.arrays_per_weight == mapping.crossbars
    planes = len(mapping.slicing.planes) // cells.arrays_per_weight
    assert (cells.place.max() + 1) * planes <= cells.crossbar_cols
    assert cells.width == 70 + cells.col_blocks * (signed_weights == "offset_column")
    assert len(set(zip(cells.column_block, cells.place, strict=True))) == cells.width
