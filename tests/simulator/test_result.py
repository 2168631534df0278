"""The promised object."""

from __future__ import annotations

import json
import math

import pytest

from tests.simulator.digits import IMAGES, result

PROMISED = {
    "accuracy",
    "timesteps_mean",
    "timesteps_histogram",
    "images",
    "energy_j",
    "latency_s",
    "edp_js",
    "area_m2",
    "energy_by_component_j",
    "latency_cycles",
    "clock_hz",
    "crossbars",
    "tiles",
    "static",
    "theta",
    "seed",
}


def test_the_summary_has_the_promised_keys_and_no_others() -> None:
    summary = result().summary()
    assert set(summary) == PROMISED
    assert set(summary["static"]) == PROMISED - {"static"}
    assert set(summary["static"]["energy_by_component_j"]) == set(summary["energy_by_component_j"])
    json.dumps(summary, allow_nan=False)


def test_the_summary_is_made_of_means_over_images() -> None:
    found = result(policy="entropy", theta=0.2)
    assert found.static is not None
    for summary, outcome in (
        (found.summary(), found.dynamic),
        (found.summary()["static"], found.static),
    ):
        energy = [float(e) for e in outcome.energy_j]
        latency = [int(c) / found.clock_hz for c in outcome.cycles]
        products = [e * s for e, s in zip(energy, latency, strict=True)]
        assert summary["energy_j"] == pytest.approx(math.fsum(energy) / IMAGES, rel=1e-12)
        assert summary["latency_s"] == pytest.approx(math.fsum(latency) / IMAGES, rel=1e-12)
        assert summary["edp_js"] == pytest.approx(math.fsum(products) / IMAGES, rel=1e-12)
        assert summary["latency_cycles"] == pytest.approx(summary["latency_s"] * found.clock_hz)
        right = sum(int(p == k) for p, k in zip(outcome.predictions, found.labels, strict=True))
        assert summary["accuracy"] == right / IMAGES
        parts = summary["energy_by_component_j"].values()
        assert math.fsum(parts) == pytest.approx(summary["energy_j"], rel=1e-9)


def test_the_histogram_starts_at_one_timestep_and_counts_every_image() -> None:
    found = result(policy="entropy", theta=0.2)
    histogram = found.summary()["timesteps_histogram"]
    steps = found.dynamic.steps.tolist()
    assert histogram == [steps.count(t) for t in (1, 2, 3, 4)]
    assert found.summary()["static"]["timesteps_histogram"] == [0, 0, 0, IMAGES]
    mean = sum(t * n for t, n in enumerate(histogram, 1)) / IMAGES
    assert found.summary()["timesteps_mean"] == pytest.approx(mean)


def test_the_summary_says_how_large_the_network_is() -> None:
    summary = result().summary()
    assert (summary["crossbars"], summary["tiles"]) == (6, 3)
    assert summary["area_m2"] == pytest.approx(sum(result().area_by_component_m2.values()))


@pytest.mark.needs_jit
def test_theta_is_a_number_a_list_or_nothing() -> None:
    assert result(policy="entropy", theta=0.25).summary()["theta"] == 0.25
    assert result(policy="entropy", theta=(0.1, 0.2, 0.3)).summary()["theta"] == [0.1, 0.2, 0.3]
    assert result(policy="static").summary()["theta"] is None
    assert result(policy="entropy", theta=0.25).summary()["static"]["theta"] is None


def test_the_seed_is_written_for_both() -> None:
    summary = result(seed=7, images=1).summary()
    assert summary["seed"] == summary["static"]["seed"] == 7
