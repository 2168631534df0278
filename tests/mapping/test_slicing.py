from __future__ import annotations

import numpy as np
import pytest

from imcsim.mapping import slice_weights, slicing_of
from tests.mapping.chips import rram64

EVERY_WEIGHT = np.arange(-127, 128).reshape(5, 51)
CODINGS = ["offset", "differential"]


@pytest.mark.parametrize("signed_weights", CODINGS)
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_weight_comes_back_from_its_levels(bits: int, signed_weights: str) -> None:
    chip = rram64({"device.bits": bits, "mapping.signed_weights": signed_weights})
    slicing = slicing_of(chip)
    levels = slice_weights(EVERY_WEIGHT.astype(np.int8), slicing)
    assert levels.shape == (5, chip.cells_per_weight, 51)
    assert levels.max() <= slicing.max_level == 2**bits - 1
    factors = np.array([plane.factor for plane in slicing.planes])
    restored = (levels.astype(np.int64) * factors[:, None]).sum(axis=1) - slicing.offset
    np.testing.assert_array_equal(restored, EVERY_WEIGHT)


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_differential_weight_uses_the_cells_of_one_sign(bits: int) -> None:
    slicing = slicing_of(rram64({"device.bits": bits, "mapping.signed_weights": "differential"}))
    levels = slice_weights(EVERY_WEIGHT, slicing)
    for i, plane in enumerate(slicing.planes):
        assert not levels[:, i][EVERY_WEIGHT * plane.sign <= 0].any()


def test_two_nibbles_of_an_offset_weight_by_hand() -> None:
    slicing = slicing_of(rram64())
    # −5 + 128 = 123 = 7·16 + 11
    assert slice_weights(np.array([[-5]]), slicing).ravel().tolist() == [7, 11]
    assert [plane.factor for plane in slicing.planes] == [16, 1]


def test_the_most_significant_slice_comes_first_and_positive_before_negative() -> None:
    slicing = slicing_of(rram64({"mapping.signed_weights": "differential", "device.bits": 3}))
    assert [plane.factor for plane in slicing.planes] == [64, -64, 8, -8, 1, -1]
    # 100 = 1·64 + 4·8 + 4
    assert slice_weights(np.array([[-100]]), slicing).ravel().tolist() == [0, 1, 0, 4, 0, 4]
