"""One row per image, one per layer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from imcsim.results.contents import IMAGE_COLUMNS, LAYER_COLUMNS, LAYER_TEXTS
from imcsim.results.tables import images_table, layers_table
from tests.simulator.digits import IMAGES, result


def test_an_image_has_its_exit_and_its_costs() -> None:
    found = result(policy="entropy", theta=0.2)
    table = images_table(found)
    assert set(IMAGE_COLUMNS) <= set(table.columns)
    assert table["image"].tolist() == list(range(IMAGES))
    for row in table.to_dict("records"):
        i, last = row["image"], row["timesteps"] - 1
        assert row["prediction"] == found.scores.predictions[i, last]
        assert row["entropy"] == found.scores.entropy[i, last]
        assert row["entropy"] < 0.2 or row["timesteps"] == 4
        assert row["edp_js"] == row["energy_j"] * row["latency_s"]
        assert row["static_edp_js"] == row["static_energy_j"] * row["static_latency_s"]


def test_without_a_baseline_there_are_no_static_columns() -> None:
    table = images_table(result(policy="entropy", theta=0.2, static=False))
    assert not [name for name in table.columns if name.startswith("static")]


def test_a_layer_has_its_place_its_work_and_its_energy() -> None:
    found = result(policy="entropy", theta=0.2)
    table = layers_table(found).set_index("layer")
    assert {*LAYER_COLUMNS, *LAYER_TEXTS} <= {"layer", *table.columns}
    assert table["crossbars"].sum() == found.mapping.crossbars == 6
    assert table.loc["conv1", "reads_per_timestep"] == 512  # 64 windows, 8 input bits
    assert table.loc["conv2", "neurons"] == 32 * 4 * 4
    assert table.loc["pool1", "crossbars"] == 0
    assert table.loc["pool1", "adc_step_levels"] == ""
    shared = found.dynamic.energy_by_component_j
    without = sum(shared.values()) - shared["leakage"] - shared["sigma_e"]
    assert table["energy_j"].sum() == pytest.approx(without, rel=1e-9)
    parts = [name for name in table.columns if name.endswith("_j") and name != "energy_j"]
    assert table[parts].to_numpy().sum() == pytest.approx(without, rel=1e-9)


def test_a_firing_rate_is_spikes_per_neuron_and_timestep() -> None:
    found = result(policy="entropy", theta=0.2)
    table = layers_table(found).set_index("layer")
    taken = [int(t) for t in found.dynamic.steps]
    spikes = sum(int(found.spikes[i, t, 0]) for i in range(IMAGES) for t in range(taken[i]))
    expected = spikes / (sum(taken) * 16 * 8 * 8)
    assert table.loc["conv1", "firing_rate"] == pytest.approx(expected, rel=1e-12)
    assert 0 < expected < 1
    assert table.loc["fc", "firing_rate"] == 0


@pytest.mark.needs_jit
def test_timesteps_after_the_exit_do_not_show_in_a_layer() -> None:
    found = result(policy="entropy", theta=0.2)
    assert found.dynamic.steps.min() < found.dynamic.steps.max()
    # Every timestep of every layer clips something.
    found = dataclasses.replace(found, saturations=np.ones_like(found.saturations))
    stopped = result(policy="entropy", theta=0.2, static=False)
    alive = np.arange(4) < stopped.dynamic.steps[:, None]
    clipped = np.ones_like(stopped.saturations) * alive[:, :, None]
    stopped = dataclasses.replace(stopped, saturations=clipped)
    table = layers_table(found)
    pd.testing.assert_frame_equal(table, layers_table(stopped), check_exact=True)
    assert set(table["saturations"]) == {int(found.dynamic.steps.sum())}
