from __future__ import annotations

import math

import pytest

from imcsim.hardware.wires import HTree, Mesh
from tests.mapping.chips import rram64

PUBLISHED_M2 = (0.8e-3) ** 2
"""4×4 units of 0.2 mm."""


def walked(leaves: int, side_m: float) -> float:
    """Root to leaf of a square H-tree, level by level: half a side, then a quarter, and so on."""
    length, segment = 0.0, side_m / 2
    while leaves > 1:
        length += segment
        segment /= 2
        leaves //= 4
    return length


@pytest.mark.parametrize("leaves", [1, 4, 16, 64, 256])
def test_the_way_to_a_leaf_is_the_sum_of_halved_segments(leaves: int) -> None:
    tree = HTree.of(rram64(), leaves, PUBLISHED_M2, 64)
    assert tree.length_m == pytest.approx(walked(leaves, 0.8e-3))


def test_the_published_tree_has_the_published_area_and_energy() -> None:
    tree = HTree.of(rram64(), 16, PUBLISHED_M2, 1)
    assert tree.length_m == pytest.approx(0.6e-3)
    assert tree.area_m2 == pytest.approx(150e-12)
    # 0.055 pJ per bit and mm
    assert tree.bit_j == pytest.approx(0.6 * 0.055e-12)


def test_area_grows_with_width_and_length() -> None:
    chip = rram64()
    tree = HTree.of(chip, 16, PUBLISHED_M2, 1)
    assert HTree.of(chip, 16, PUBLISHED_M2, 256).area_m2 == pytest.approx(256 * tree.area_m2)
    assert HTree.of(chip, 16, 4 * PUBLISHED_M2, 1).area_m2 == pytest.approx(2 * tree.area_m2)
    assert HTree.of(chip, 64, PUBLISHED_M2, 1).area_m2 > tree.area_m2


def test_a_single_leaf_needs_no_wire() -> None:
    tree = HTree.of(rram64(), 1, PUBLISHED_M2, 256)
    assert tree.length_m == tree.area_m2 == tree.bit_j == 0


def test_a_link_is_one_tile_long() -> None:
    mesh = Mesh.of(rram64(), (0.73e-3) ** 2)
    assert mesh.link_bit_j == pytest.approx(0.73 * 0.15e-12)
    assert mesh.router_bit_j == pytest.approx(0.081e-12)
    assert math.isclose(mesh.router_m2, 14000e-12)
    assert mesh.router_leakage_w == pytest.approx(11.2e-6)
