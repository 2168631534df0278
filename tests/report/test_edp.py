"""The curve of accuracy against EDP, recomputed image by image."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from imcsim.errors import RunError
from imcsim.report.edp import Point, curve_of
from imcsim.results import Run, read_run, write_run
from imcsim.simulator import RunResult
from tests.simulator.digits import IMAGES, result


def check_point(point: Point, run: Run, found: RunResult, taken: list[int], pays: bool) -> None:
    """Compare with sums over the images' timesteps, from the run's arrays."""
    clock, steps = run.summary["clock_hz"], run.steps
    energies, latencies, right = [], [], 0
    for image, t in enumerate(taken):
        energy, cycles = float(steps["once_energy_j"][image]), int(steps["once_cycles"])
        totals = [0] * 10
        for step in range(t):
            energy += float(steps["energy_j"][image, step])
            cycles += int(steps["cycles"][image, step])
            if pays:
                energy += float(steps["sigma_e_energy_j"])
                cycles += int(steps["sigma_e_cycles"])
            totals = [a + int(b) for a, b in zip(totals, steps["logits"][image, step], strict=True)]
        energies.append(energy)
        latencies.append(cycles / clock)
        right += totals.index(max(totals)) == found.labels[image]
    n = len(taken)
    products = [e * s for e, s in zip(energies, latencies, strict=True)]
    assert point.timesteps_mean == pytest.approx(sum(taken) / n, rel=1e-12)
    assert list(point.timesteps_histogram) == [taken.count(t) for t in (1, 2, 3, 4)]
    assert point.accuracy == right / n
    assert point.energy_j == pytest.approx(math.fsum(energies) / n, rel=1e-12)
    assert point.latency_s == pytest.approx(math.fsum(latencies) / n, rel=1e-12)
    assert point.edp_js == pytest.approx(math.fsum(products) / n, rel=1e-12)
    means = math.fsum(energies) * math.fsum(latencies) / n**2
    assert point.edp_of_means_js == pytest.approx(means, rel=1e-12)


def test_a_static_point_is_the_sum_of_its_timesteps(run: Run, found: RunResult) -> None:
    curve = curve_of(run, 5)
    assert [point.label for point in curve.static] == ["T = 1", "T = 2", "T = 3", "T = 4"]
    for t, point in enumerate(curve.static, 1):
        assert point.theta is None
        check_point(point, run, found, [t] * IMAGES, pays=False)
    last, static = curve.static[-1], run.summary["static"]
    for key in ("accuracy", "energy_j", "latency_s", "edp_js", "timesteps_mean"):
        assert getattr(last, key) == pytest.approx(static[key], rel=1e-12)


def test_a_dynamic_point_is_decided_image_by_image(run: Run, found: RunResult) -> None:
    curve = curve_of(run, 8)
    assert curve.policy == "entropy"
    assert len(curve.dynamic) >= 3
    for point in curve.dynamic:
        assert point.theta is not None
        # The module compares integers: the threshold is rounded to its register once.
        limit = round(point.theta * found.scores.entropy_scale)
        taken = [
            next(
                t
                for t in range(1, 5)
                if t == 4 or int(found.scores.entropy_raw[image, t - 1]) < limit
            )
            for image in range(IMAGES)
        ]
        check_point(point, run, found, taken, pays=True)


def test_dynamic_points_go_from_one_timestep_to_all(run: Run) -> None:
    points = curve_of(run, 8).dynamic
    assert points[0].timesteps_mean == 1
    assert points[-1].timesteps_mean == 4
    assert [p.edp_js for p in points] == sorted(p.edp_js for p in points)
    assert all(p.edp_of_means_js <= p.edp_js * (1 + 1e-12) for p in points)


def test_the_unit_is_one_static_timestep(run: Run) -> None:
    curve = curve_of(run, 3)
    assert curve.normalised(curve.static[0]) == 1
    expected = curve.static[3].edp_js / curve.static[0].edp_js
    assert curve.normalised(curve.static[3]) == expected > 4


def test_the_run_of_the_default_threshold_lies_on_its_curve(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imcsim.report.edp.thresholds_for_curve", lambda *_: [0.2])
    (point,) = curve_of(run, 2).dynamic
    for key in ("accuracy", "timesteps_mean", "energy_j", "latency_s", "edp_js"):
        assert getattr(point, key) == pytest.approx(run.summary[key], rel=1e-12)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("policy", "theta", "shown"),
    [("confidence", 0.9, "confidence"), ("margin", 2.0, "margin"), ("oracle", None, "entropy")],
)
def test_the_curve_is_that_of_the_run_s_policy(
    policy: str, theta: float | None, shown: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", result(policy=policy, theta=theta), {})
    curve = curve_of(read_run(tmp_path / "run"), 4)
    assert curve.policy == shown
    assert curve.dynamic[0].timesteps_mean == 1
    assert curve.dynamic[-1].timesteps_mean == 4


def test_a_single_timestep_makes_a_single_static_point(tmp_path: Path) -> None:
    write_run(tmp_path / "run", result(timesteps=1, images=2), {})
    curve = curve_of(read_run(tmp_path / "run"), 4)
    assert len(curve.static) == len(curve.dynamic) == 1
    assert curve.dynamic[0].accuracy == curve.static[0].accuracy


def test_images_that_stopped_at_their_exit_make_no_curve(stopped: Run) -> None:
    with pytest.raises(RunError, match=r"made with --no-static; .* no static baseline"):
        curve_of(stopped, 4)


def test_the_curve_as_json_holds_every_point(run: Run) -> None:
    curve = curve_of(run, 5)
    said = json.loads(json.dumps(curve.as_json(), allow_nan=False))
    assert said["run"] == "run"
    assert said["policy"] == "entropy"
    assert [p["edp_js"] for p in said["static"]] == [p.edp_js for p in curve.static]
    assert [p["theta"] for p in said["dynamic"]] == [p.theta for p in curve.dynamic]
    assert said["static"][0]["edp_normalised"] == 1


def test_the_run_itself_is_a_point_of_its_curve(run: Run) -> None:
    (point,) = (p for p in curve_of(run, 8).dynamic if p.this_run)
    assert (point.label, point.theta) == ("θ = 0.2", 0.2)
    for key in ("accuracy", "timesteps_mean", "energy_j", "latency_s", "edp_js"):
        assert getattr(point, key) == pytest.approx(run.summary[key], rel=1e-12)


@pytest.mark.parametrize(
    ("theta", "label"), [((0.05, 0.3, 0.6), "θ = 0.05, 0.3, 0.6"), ((0.2,) * 7, "θ by timestep")]
)
def test_thresholds_by_timestep_are_one_point(
    theta: tuple[float, ...], label: str, tmp_path: Path
) -> None:
    made = result(policy="entropy", theta=theta, timesteps=len(theta) + 1)
    write_run(tmp_path / "run", made, {})
    run = read_run(tmp_path / "run")
    curve = curve_of(run, 8)
    (point,) = (p for p in curve.dynamic if p.this_run)
    assert (point.label, point.theta) == (label, theta)
    assert point.edp_js == pytest.approx(run.summary["edp_js"], rel=1e-12)
    assert json.loads(json.dumps(curve.as_json()))["policy"] == "entropy"


def test_a_policy_without_threshold_has_no_point_on_the_curve_of_another(run: Run) -> None:
    options = run.config["run"] | {"policy": "oracle", "theta": []}
    curve = curve_of(dataclasses.replace(run, config=run.config | {"run": options}), 4)
    assert curve.without_threshold == "oracle"
    assert not any(point.this_run for point in curve.dynamic)
    assert curve_of(run, 4).without_threshold == ""


def test_damaged_thresholds_are_named(run: Run) -> None:
    options = run.config["run"] | {"theta": []}
    with pytest.raises(RunError, match=r"config\.yaml: run\.theta: exit policy entropy needs"):
        curve_of(dataclasses.replace(run, config=run.config | {"run": options}), 4)
