"""From a float network and images to a workload file: what is shipped, measured and refused."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.errors import ImcsimError, UsageError, WorkloadError
from imcsim.functional.exits import ExitPolicy, decide, predictions_at
from imcsim.functional.readout import SigmaETables, evaluate
from imcsim.functional.thresholds import calibrate_all
from imcsim.network.float_network import FloatLayer, FloatNetwork, run_float
from imcsim.network.layers import Network
from imcsim.network.quantize import Arithmetic, quantize
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload, read_workload, write_workload
from imcsim.training import export
from imcsim.training.export import (
    Split,
    balanced_choice,
    export_workload,
    first_of_each_class,
    summary,
)
from tests.network.test_float_network import tiny_float_network

IntArray = npt.NDArray[np.int64]
REAL = tiny_float_network()
PROVENANCE = {"recipe": "tiny", "seed": 3}
label_lists = st.lists(st.integers(0, 4), max_size=40).map(lambda said: np.array(said, np.int64))


def split(n: int, seed: int, network: FloatNetwork = REAL) -> Split:
    """Random images with the float network's own predictions as labels, every fifth one wrong."""
    rng = np.random.default_rng(seed)
    frames = (network.timesteps,) if network.encoding == "events" else ()
    high = 4 if network.encoding == "events" else 256
    images = rng.integers(0, high, (n, *frames, *network.image_shape)).astype(np.uint8)
    labels = run_float(network, images).sum(axis=1).argmax(axis=1)
    labels[::5] = rng.integers(0, network.classes, len(labels[::5]))
    return Split(images, labels.astype(np.int64))


HELD_OUT, TEST = split(40, 1), split(60, 2)


def exported(**options: Any) -> Workload:
    said: dict[str, Any] = {
        "provenance": PROVENANCE, "per_class_shipped": 5, "calibration_images": 8, "golden": 4
    } | options  # fmt: skip
    return export_workload(REAL, HELD_OUT, TEST, **said)


@pytest.fixture(scope="module")
def workload() -> Workload:
    return exported()


def shares(logits: npt.NDArray[Any], labels: IntArray) -> list[float]:
    """Accuracy after each timestep, image by image."""
    found = []
    for t in range(1, logits.shape[1] + 1):
        predicted = [int(scores[:t].sum(axis=0).argmax()) for scores in logits]
        right = [a == b for a, b in zip(predicted, labels.tolist(), strict=True)]
        found.append(round(sum(right) / len(labels), 6))
    return found


def test_the_first_images_of_each_class_are_shipped_in_the_order_of_the_set(
    workload: Workload,
) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for i, label in enumerate(TEST.labels.tolist()):
        seen[label] += 1
        if seen[label] <= 5:
            expected.append(i)
    np.testing.assert_array_equal(workload.images, TEST.images[expected])
    np.testing.assert_array_equal(workload.labels, TEST.labels[expected])


def test_calibration_images_are_dealt_out_class_by_class(workload: Workload) -> None:
    queues = {label: np.flatnonzero(HELD_OUT.labels == label).tolist() for label in range(3)}
    dealt: list[int] = []
    while any(queues.values()):
        dealt += sorted(queue.pop(0) for queue in queues.values() if queue)
    np.testing.assert_array_equal(workload.calibration_images, HELD_OUT.images[dealt[:8]])
    np.testing.assert_array_equal(workload.calibration_labels, HELD_OUT.labels[dealt[:8]])


@given(label_lists, st.integers(1, 50))
def test_every_beginning_of_the_choice_is_balanced(labels: IntArray, count: int) -> None:
    chosen = balanced_choice(labels, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, len(labels))
    whole = Counter(labels.tolist())
    for n in range(len(chosen) + 1):
        found = Counter(labels[chosen[:n]].tolist())
        most = max(found.values(), default=0)
        assert all(found[label] >= min(most - 1, whole[label]) for label in whole)


@given(label_lists, st.integers(0, 12))
def test_at_most_so_many_of_each_class_are_chosen(labels: IntArray, count: int) -> None:
    mask = first_of_each_class(labels, count)
    for label in set(labels.tolist()):
        members = mask[labels == label].tolist()
        assert members == [i < count for i in range(len(members))]


def test_the_network_is_the_quantised_one_and_the_golden_scores_are_the_references(
    workload: Workload,
) -> None:
    network = quantize(REAL)
    for layer, expected in zip(workload.network.layers, network.layers, strict=True):
        if layer.weight is not None:
            np.testing.assert_array_equal(layer.weight, expected.weight)
    golden = run_reference(network, workload.images[:4]).logits
    np.testing.assert_array_equal(workload.golden_logits, golden)
    assert exported(arithmetic=Arithmetic(4, 20, 2)).network.neuron.membrane_bits == 20


def test_static_accuracies_are_those_of_a_plain_loop(workload: Workload) -> None:
    said, network = workload.accuracies, workload.network
    shipped = Split(workload.images, workload.labels)
    sets = {"test_60": TEST, f"shipped_{len(shipped)}": shipped, "held_out_40": HELD_OUT}
    assert set(said["integer"]) == set(sets)
    for key, part in sets.items():
        logits = run_reference(network, part.images).logits
        assert said["integer"][key] == shares(logits, part.labels)
    assert said["float"] == {
        key: shares(run_float(REAL, part.images), part.labels)
        for key, part in sets.items()
        if key != "held_out_40"
    }
    logits = run_reference(network, workload.images).logits.cumsum(axis=1)
    right = (logits.argmax(axis=2) == workload.labels[:, None]).sum(axis=0)
    assert said["shipped_correct"] == right.tolist()
    assert all(type(count) is int for count in said["shipped_correct"])


def test_thresholds_come_from_held_out_images_alone(workload: Workload) -> None:
    network = workload.network
    logits = run_reference(network, HELD_OUT.images).logits
    assert workload.theta == calibrate_all(logits, HELD_OUT.labels, network.logit_scale)
    other = export_workload(REAL, HELD_OUT, split(30, 9), provenance={})
    assert other.theta == workload.theta
    reached = workload.accuracies["exits"]["held_out_40"]
    goal = workload.accuracies["integer"]["held_out_40"][-1]
    assert all(p["accuracy"] >= goal for by in reached.values() for p in by.values())


def test_another_goal_is_kept_on_the_held_out_images(workload: Workload) -> None:
    goal = workload.accuracies["integer"]["held_out_40"][-1] - 0.1
    found = exported(goal=goal)
    for policy, by_readout in found.accuracies["exits"]["held_out_40"].items():
        for accumulate, point in by_readout.items():
            own = workload.accuracies["exits"]["held_out_40"][policy][accumulate]
            assert point["accuracy"] >= goal
            assert point["timesteps_mean"] <= own["timesteps_mean"]
    assert found.provenance["theta"].endswith(f"at accuracy {goal:g}")


def test_recorded_exits_and_curves_are_what_their_thresholds_give(workload: Workload) -> None:
    network = workload.network
    logits = run_reference(network, TEST.images).logits
    tables = SigmaETables(3072, 3072, network.classes)
    curves, exits = workload.accuracies["curves"]["test_60"], workload.accuracies["exits"]
    for policy in ("entropy", "confidence", "margin"):
        for accumulate in ("sum", "mean"):
            scores = evaluate(logits, network.logit_scale, accumulate, tables)
            theta = workload.theta[policy][accumulate]
            steps = decide(ExitPolicy.of(policy, theta), scores, None, network.timesteps)
            right = predictions_at(scores, steps) == TEST.labels
            point = exits["test_60"][policy][accumulate]
            assert point["accuracy"] == round(right.mean(), 6)
            assert point["timesteps_mean"] == round(steps.mean(), 6)
            curve = curves[policy][accumulate]
            assert len(curve["theta"]) == export.CURVE_POINTS
            for i, value in enumerate(curve["theta"]):
                steps = decide(ExitPolicy.of(policy, value), scores, None, network.timesteps)
                assert curve["timesteps_mean"][i] == round(steps.mean(), 6)
                right = predictions_at(scores, steps) == TEST.labels
                assert curve["accuracy"][i] == round(right.mean(), 6)
            static = workload.accuracies["integer"]["test_60"]
            assert (curve["timesteps_mean"][0], curve["accuracy"][0]) == (4.0, static[-1])


def test_the_oracle_bounds_every_exit(workload: Workload) -> None:
    for key, exits in workload.accuracies["exits"].items():
        bound = workload.accuracies["earliest_exits"][key]
        assert bound["oracle_timesteps_mean"] <= bound["average_exit_time"]
        for by_readout in exits.values():
            assert all(p["accuracy"] <= bound["oracle_accuracy"] for p in by_readout.values())


def test_a_workload_survives_its_file_and_equal_exports_give_equal_bytes(
    workload: Workload, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    write_workload(first, workload)
    write_workload(second, exported())
    assert first.read_bytes() == second.read_bytes()
    again = read_workload(first)
    assert again.accuracies == workload.accuracies == json.loads(json.dumps(workload.accuracies))
    assert again.theta == workload.theta
    assert summary(again) == summary(workload)


def test_provenance_is_kept_and_says_how_images_were_chosen(workload: Workload) -> None:
    assert PROVENANCE.items() <= workload.provenance.items()
    assert workload.provenance["shipped"].startswith("the first 5 test images of each class")
    assert workload.provenance["theta"].endswith("at the accuracy of T = 4")
    assert "40 held-out training images" in workload.provenance["theta"]
    assert exported(provenance={"theta": "by hand"}).provenance["theta"] == "by hand"


def test_own_evaluations_are_used_instead_of_the_slow_ones() -> None:
    calls: Counter[str] = Counter()

    def integer(network: Network, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        calls["integer"] += len(images)
        return run_reference(network, images).logits.astype(np.int32)

    def real(images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        calls["float"] += len(images)
        return -run_float(REAL, images)

    found = exported(integer_logits=integer, float_logits=real)
    assert calls == {"integer": 100, "float": 60}
    own = exported()
    assert found.accuracies["integer"] == own.accuracies["integer"]
    assert found.accuracies["float"]["test_60"] == shares(
        -run_float(REAL, TEST.images), TEST.labels
    )


def test_an_evaluation_that_is_not_the_references_is_noticed() -> None:
    def wrong(network: Network, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        logits = run_reference(network, images).logits
        third = np.flatnonzero((images == shipped[2]).all(axis=(1, 2, 3)))
        logits[third, 1, 0] += 1
        return logits

    shipped = exported().images
    message = r"class scores of shipped image 2 \(from 0\) at t = 2 are \[.*\], the reference has"
    with pytest.raises(ImcsimError, match=message):
        exported(integer_logits=wrong)


@pytest.mark.parametrize(
    ("name", "logits", "message"),
    [
        ("float_logits", np.zeros((60, 4, 3), np.int64), "float class scores: int64"),
        ("float_logits", np.zeros((60, 3)), r"float64 \(60, 3\) found, floating \(60, 4, 3\)"),
        ("integer_logits", np.zeros((60, 4, 3)), r"found, integer \(60, 4, 3\) expected"),
        ("integer_logits", np.zeros((60, 3, 3), np.int64), r"int64 \(60, 3, 3\) found"),
    ],
)
def test_what_are_no_class_scores_is_refused(
    name: str, logits: npt.NDArray[Any], message: str
) -> None:
    with pytest.raises(ImcsimError, match=message):
        exported(**{name: lambda *_: logits})


@pytest.mark.parametrize("name", ["per_class_shipped", "calibration_images", "golden"])
def test_nothing_cannot_be_shipped(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0, it must be 1 or more"):
        exported(**{name: 0})


NO_IMAGES = Split(TEST.images[:0], TEST.labels[:0])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (NO_IMAGES, "images: there are none"),
        (dataclasses.replace(TEST, labels=TEST.labels[:9]), r"images: shape \(60, 2, 4, 4\)"),
        (dataclasses.replace(TEST, images=TEST.images[:, :1]), r"expected \(60, 2, 4, 4\)"),
        (Split(TEST.images.astype(np.float32), TEST.labels), "images: dtype float32"),
        (Split(TEST.images, TEST.labels.astype(np.int32)), "labels: dtype int32, expected int64"),
        (Split(TEST.images, TEST.labels + 1), r"labels: 1..3 found, there are 3 classes"),
        (Split(TEST.images, TEST.labels - 1), r"labels: -1..1 found, there are 3 classes"),
    ],
)
def test_images_that_do_not_fit_are_refused(part: Split, message: str) -> None:
    with pytest.raises(WorkloadError, match=rf"test\.{message}|test\.images: .*{message}"):
        export_workload(REAL, HELD_OUT, part, provenance={})
    with pytest.raises(WorkloadError, match=r"held_out\."):
        export_workload(REAL, part, TEST, provenance={})


def test_a_goal_out_of_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="no threshold of exit policy entropy reaches"):
        exported(goal=1.0)


def test_event_frames_are_exported_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    layers = (
        FloatLayer("h", "linear", -1, spikes=True, weight=rng.normal(0, 0.4, (9, 8))),
        FloatLayer("fc", "linear", 0, weight=rng.normal(0, 1, (3, 9))),
    )
    real = FloatNetwork(
        "events", (2, 2, 2), 3, 5, layers, np.zeros(2), np.ones(2), encoding="events"
    )
    held_out, test = split(20, 5, real), split(20, 6, real)
    made = export_workload(real, held_out, test, provenance={}, policy="margin", accumulate="mean")
    write_workload(tmp_path / "events.npz", made)
    again = read_workload(tmp_path / "events.npz")
    assert again.calibration_images.shape == (20, 5, 2, 2, 2)
    assert (again.policy, again.accumulate) == ("margin", "mean")
    assert len(again.golden_logits) == 16
    assert any("margin mean (default)" in line for line in summary(again))


def test_a_summary_shows_float_int8_and_exits(workload: Workload) -> None:
    lines = summary(workload)
    assert lines[0].split()[-4:] == ["1", "2", "3", "4"]
    for start, kind in (("float test_60", "float"), ("int8 test_60", "integer")):
        (line,) = [line for line in lines if line.startswith(start)]
        found = [float(cell) / 100 for cell in line.split()[-4:]]
        assert found == pytest.approx(workload.accuracies[kind]["test_60"], abs=6e-5)
    (line,) = [line for line in lines if line.startswith("entropy sum (default)")]
    theta, share, mean = map(float, line.split()[-3:])
    assert theta == pytest.approx(workload.theta["entropy"]["sum"], rel=1e-3)
    point = workload.accuracies["exits"]["test_60"]["entropy"]["sum"]
    assert (share, mean) == pytest.approx((100 * point["accuracy"], point["timesteps_mean"]), 1e-3)
    assert lines[-1].startswith("oracle")


def test_a_summary_of_a_workload_made_otherwise_shows_what_is_there(workload: Workload) -> None:
    bare = dataclasses.replace(workload, accuracies={"integer": {"shipped_15": [0.5] * 4}})
    assert len(summary(bare)) == 2
    by_t = dataclasses.replace(workload, theta={"entropy": {"sum": [0.1] * 4, "mean": 0.2}})
    exits = {"test_60": {"entropy": workload.accuracies["exits"]["test_60"]["entropy"]}}
    by_t = dataclasses.replace(by_t, accuracies=workload.accuracies | {"exits": exits})
    assert any(line.split()[-3:-2] == ["t"] for line in summary(by_t) if "entropy sum" in line)


def test_exporting_needs_no_torch() -> None:
    tree = ast.parse(Path(export.__file__).read_text("utf-8"))
    sources = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in sources if name and ("torch" in name or "training" in name)]


def lower_by(workload: Workload, points: float) -> Workload:
    """The same workload, as if its network had been so much worse on the held-out images."""
    said = json.loads(json.dumps(workload.accuracies))
    said["integer"]["held_out_40"][-1] -= points
    return dataclasses.replace(workload, accuracies=said)


def test_a_worse_baseline_is_reached_in_fewer_timesteps(workload: Workload) -> None:
    alike, worse = (
        exported(baseline=lower_by(workload, points)).accuracies["iso_baseline"]
        for points in (0.0, 0.2)
    )
    assert alike["theta"] == workload.theta
    assert alike["exits"]["test_60"] == workload.accuracies["exits"]["test_60"]
    for policy, by_readout in worse["exits"]["test_60"].items():
        for accumulate, reached in by_readout.items():
            own = alike["exits"]["test_60"][policy][accumulate]
            assert reached["timesteps_mean"] <= own["timesteps_mean"]
    assert worse["exits"] != alike["exits"]


def test_a_baseline_out_of_reach_is_recorded_as_such(workload: Workload) -> None:
    found = exported(baseline=lower_by(workload, -1.0))
    assert found.accuracies["iso_baseline"]["theta"] == {}
    assert summary(found)[-1] == "no policy reaches it"


def test_a_baseline_measured_on_other_images_is_refused(workload: Workload) -> None:
    other = dataclasses.replace(workload, accuracies={"integer": {"held_out_41": [0.5]}})
    with pytest.raises(UsageError, match="no accuracy on held_out_40 images to compare with"):
        exported(baseline=other)


def test_a_summary_shows_what_is_reached_at_the_accuracy_of_the_baseline(
    workload: Workload,
) -> None:
    lines = summary(exported(baseline=workload))
    head = next(i for i, line in enumerate(lines) if line.startswith("as accurate as"))
    assert workload.name in lines[head]
    assert len(lines) - head - 1 == 6
