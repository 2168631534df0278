"""Partial reads, pairs and separate slices in time and in counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imcsim.activity import FIXED_ACTIONS
from imcsim.functional.counts import fixed_counts
from imcsim.hardware.crossbar import CrossbarUnit
from imcsim.mapping import map_network
from imcsim.timing.engine import simulate
from imcsim.timing.network_graph import timestep_graph
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, avg_pool_network
from tests.timing.checks import (
    assert_credits_are_conserved,
    assert_schedule_obeys_the_graph,
    of_kind,
    small_mapping,
)

ANALOG = {"mapping.signed_weights": "differential", "mapping.subtract": "analog"}
CONVENTIONS: list[dict[str, Any]] = [
    {"crossbar.rows_per_read": 3},
    {"mapping.row_order": "position"},
    {"mapping.slices": "separate"},
    {"mapping.signed_weights": "offset_column"},
    ANALOG,
    ANALOG
    | {"mapping.slices": "separate", "crossbar.rows_per_read": 5, "mapping.row_order": "flat"},
]  # fmt: skip
ROOM = {"chip.mesh_columns": 20, "chip.mesh_rows": 20}


def counted(overrides: dict[str, Any], action: str, name: str = "max_pool") -> np.ndarray:
    step = fixed_counts(small_mapping(name, ROOM | overrides))[1]
    return np.asarray(step[:, list(FIXED_ACTIONS).index(action)])


@pytest.mark.parametrize("overrides", CONVENTIONS)
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_every_counted_read_is_a_read_in_time(name: str, overrides: dict[str, Any]) -> None:
    mapping = small_mapping(name, ROOM | overrides)
    graph = timestep_graph(mapping)
    assert_credits_are_conserved(graph)
    assert_schedule_obeys_the_graph(simulate(graph))
    reads = counted(overrides, "crossbar_read", name)
    for m in mapping.layers:
        assert len(of_kind(graph, "crossbar", m.index)) == m.reads == reads[m.index]
        assert len(of_kind(graph, "adc", m.index)) == m.reads


def test_groups_of_rows_are_read_one_after_the_other() -> None:
    def makespan(driven: int) -> int:
        return simulate(timestep_graph(small_mapping(
            "linear", {"crossbar.rows_per_read": driven}))).makespan  # fmt: skip

    taken = [makespan(driven) for driven in (8, 4, 2, 1)]
    assert taken == sorted(set(taken))
    # Each of 8 bits: 2 cycles to settle and 4 columns of (9 + 1) ns · 500 MHz.
    extra = 2 + 4 * 5
    assert taken[1] - taken[0] >= 8 * extra


def test_pairs_take_half_the_conversions_and_half_their_time_and_energy() -> None:
    digital = {"mapping.signed_weights": "differential"}
    codes, halved = (counted(case, "shift_add") for case in (digital, ANALOG))
    np.testing.assert_array_equal(codes, 2 * halved)
    adc_cycles = [
        timestep_graph(small_mapping("max_pool", case)).duration[
            of_kind(timestep_graph(small_mapping("max_pool", case)), "adc")
        ]
        for case in (digital, ANALOG)
    ]
    np.testing.assert_array_equal(adc_cycles[0], 2 * adc_cycles[1])
    plain, paired = (CrossbarUnit.of(rram64(case)) for case in (digital, ANALOG))
    assert plain.adc_busy_j == pytest.approx(2 * paired.adc_busy_j)
    assert plain.adc_idle_j == pytest.approx(2 * paired.adc_idle_j)
    # Word lines are driven as long as the multiplexers step.
    assert plain.wordline_j == pytest.approx(2 * paired.wordline_j)


def test_a_crossbar_of_one_slice_joins_no_slices() -> None:
    adjacent, separate = (
        CrossbarUnit.of(rram64({"mapping.slices": slices})) for slices in ("adjacent", "separate")
    )
    assert separate.shift_add_j < adjacent.shift_add_j
    assert separate.adc_busy_j == adjacent.adc_busy_j


def test_partial_reads_by_hand() -> None:
    """conv2 of avg_pool_network: 36 rows on 5 row blocks of 8 (the last one of 4), 6 outputs in 2
    column blocks, 9 windows of 3-bit counts, 3 rows at a time: 3 groups."""
    step = fixed_counts(small_mapping("avg_pool", {"crossbar.rows_per_read": 3}))[1][2]
    found = dict(zip(FIXED_ACTIONS, step.tolist(), strict=True))
    assert found["crossbar_read"] == 9 * 3 * 10 * 3
    assert found["shift_add"] == 8 * found["crossbar_read"]
    # The rows are fetched once, and counted once, however they are driven.
    whole = fixed_counts(small_mapping("avg_pool"))[1][2]
    for action in ("popcount_bit", "pe_buffer_read_bit", "pe_add_bit"):
        assert found[action] == whole[list(FIXED_ACTIONS).index(action)]


def test_a_reference_column_is_subtracted_once_per_sum_and_needs_no_popcount() -> None:
    case = {"mapping.signed_weights": "offset_column"}
    assert not counted(case, "popcount_bit").any()
    mapping = map_network(avg_pool_network(), rram64(case | {"adc.bits": 6}))
    step = fixed_counts(mapping)[1]
    m = mapping.layers[1]
    # 36 rows, 6 outputs on one crossbar; sums of codes up to 63 · 17 · 7 in 13 bits and a sign.
    expected = m.positions * 6 * (m.partial_sum_bits + 14)
    assert step[m.index, list(FIXED_ACTIONS).index("pe_add_bit")] == expected


def test_separate_slices_send_their_inputs_and_sums_twice() -> None:
    one, two = (
        map_network(avg_pool_network(), rram64({"mapping.slices": slices, "adc.bits": 6}))
        for slices in ("adjacent", "separate")
    )
    tree, add = (list(FIXED_ACTIONS).index(a) for a in ("pe_htree_bit", "pe_add_bit"))
    first, second = fixed_counts(one)[1], fixed_counts(two)[1]
    m = one.layers[1]
    assert second[m.index, add] == 2 * first[m.index, add]
    # 36 rows of 3 bits; 63 · 17 · 7 in 13 bits, 63 · 7 in 9.
    assert first[m.index, tree] == m.positions * (36 * 3 + 6 * 13)
    assert second[m.index, tree] == m.positions * (2 * 36 * 3 + 2 * 6 * 9)
