"""A training in steps of one epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from imcsim.errors import ImcsimError, UsageError
from imcsim.network.datasets import LabelledImages
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload
from imcsim.simulator.run import Progress
from imcsim.training.data import TrainingData, split_data
from imcsim.training.network import WeightedLayer
from imcsim.training.session import TrainingSession, build_model
from tests.training.fake_cifar import INT8_STAGE, STAGE, TINY, tiny_recipe

CPU = torch.device("cpu")


def labelled(n: int, shape: tuple[int, ...], high: int) -> LabelledImages:
    """Two classes, bright and dark."""
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 2
    images = rng.integers(0, high // 2, (n, *shape)) + labels.reshape(-1, *(1,) * len(shape)) * (
        high // 2
    )
    return LabelledImages(images.astype(np.uint8), labels)


def small_data(shape: tuple[int, ...] = (3, 8, 8), high: int = 256) -> TrainingData:
    return split_data(labelled(40, shape, high), labelled(12, shape, high), 8)


DATA = small_data()
NETWORK: dict[str, Any] = TINY["network"] | {"channels": [4, "pool", 6]}


def session(data: TrainingData = DATA, **changes: Any) -> TrainingSession:
    return TrainingSession(tiny_recipe(**{"network": NETWORK} | changes), data, CPU)


def run(training: TrainingSession) -> list[dict[str, Any]]:
    while not training.is_finished():
        training.run_epoch(Progress())
    return training.state.log


def test_epochs_and_stages_follow_each_other() -> None:
    training = session(stages=[STAGE | {"epochs": 2}, INT8_STAGE])
    log = run(training)
    assert [(row["stage"], row["epoch"]) for row in log] == [(1, 1), (1, 2), (2, 1)]
    assert list(log[0]) == [
        "stage", "epoch", "loss", "train_accuracy", "held_out_accuracy_t1", "held_out_accuracy_t2",
        "seconds",
    ]  # fmt: skip
    assert (training.state.stage, training.state.epoch) == (2, 0)


def test_a_stage_of_one_timestep_is_measured_over_all_of_them() -> None:
    (row,) = run(session(stages=[STAGE | {"epochs": 1, "timesteps": 1}]))
    assert "held_out_accuracy_t2" in row


@pytest.mark.parametrize("loss", ["eq9", "cumulative"])
def test_the_best_epoch_is_the_last_stage_s_with_the_highest_held_out_accuracy(loss: str) -> None:
    """After all timesteps for a static network, over all of them for a dynamic one."""
    stages = [STAGE | {"epochs": 1}, STAGE | {"epochs": 4, "loss": loss}]
    training = session(stages=stages)
    log, state = run(training)[1:], training.state
    ends = [row["held_out_accuracy_t2"] for row in log]
    means = [(row["held_out_accuracy_t1"] + end) / 2 for row, end in zip(log, ends, strict=True)]
    scores = ends if loss == "eq9" else means
    assert state.best_score == pytest.approx(max(scores))
    assert state.best_epoch == max(k for k, score in enumerate(scores, 1) if score == max(scores))


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = build_model(tiny_recipe(), DATA).state_dict()
    drawn = torch.rand(1)
    again = build_model(tiny_recipe(), DATA).state_dict()
    other = build_model(tiny_recipe(seed=2), DATA).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["weighted.0.map.weight"], other["weighted.0.map.weight"])
    # Nor do they disturb anybody else's numbers.
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)


def test_the_plan_reaches_the_network() -> None:
    plan = NETWORK | {
        "tau": 0.75,
        "reset": "soft",
        "surrogate": "atan",
        "width": 2.0,
        "pool": "max",
    }
    model = build_model(tiny_recipe(network=plan), DATA)
    dynamics = model.dynamics
    assert (dynamics.tau, dynamics.reset, dynamics.surrogate) == (0.75, "soft", "atan")
    assert [layer.kind for layer in model.layers] == [
        "conv", "max_pool", "conv", "max_pool", "linear"
    ]  # fmt: skip
    assert model.layers[0].output_shape[0] == 8
    resnet = {"architecture": "resnet19", "timesteps": 2, "width": 0.03}
    assert len(build_model(tiny_recipe(network=resnet), DATA).layers) == 23


@pytest.mark.parametrize(
    ("shape", "network", "message"),
    [
        ((3, 8, 6), NETWORK, r"network: the images are 8×6, not square"),
        (
            (3, 8, 8),
            {"architecture": "vgg", "timesteps": 2},
            "network: 4 pools need an image of at",
        ),
        (
            (3, 6, 6),
            {"architecture": "resnet19", "timesteps": 2},
            "network: the image must have a side that 4 divides, not 6",
        ),
    ],
)
def test_images_that_do_not_suit_the_network_are_refused(
    shape: tuple[int, ...], network: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        session(small_data(shape), network=network)


@pytest.mark.parametrize(("shape", "high"), [((1, 8, 8), 256), ((2, 2, 8, 8), 4)])
def test_autoaugment_needs_colours(shape: tuple[int, ...], high: int) -> None:
    with pytest.raises(UsageError, match="autoaugment: the policy is for colour images"):
        session(small_data(shape, high), augmentation={"autoaugment": True})


def test_colour_images_can_be_augmented_in_every_way() -> None:
    augmentation = {"crop_padding": 2, "flip": True, "cutout": 3, "autoaugment": True}
    (row,) = run(session(augmentation=augmentation, stages=[STAGE | {"epochs": 1}]))
    assert np.isfinite(row["loss"])


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    # The penalty alone multiplies every weight by −9 in each step.
    stage = STAGE | {"learning_rate": 10.0, "weight_decay": 1.0, "batch": 1, "epochs": 8}
    with pytest.raises(ImcsimError) as caught:
        run(session(stages=[stage]))
    assert str(caught.value).startswith("stage 1, epoch ")
    assert str(caught.value).endswith("(try a lower learning_rate, or a warm-up)")
    assert caught.value.exit_code == 1


def check_export(workload: Workload) -> None:
    logits = run_reference(workload.network, workload.images[: len(workload.golden_logits)]).logits
    np.testing.assert_array_equal(logits, workload.golden_logits)


def test_events_are_trained_on_frame_by_frame() -> None:
    training = session(small_data((2, 2, 8, 8), 4), stages=[STAGE | {"epochs": 1}, INT8_STAGE])
    run(training)
    workload = training.export({})
    assert (workload.network.encoding, workload.images.shape[1:]) == ("events", (2, 2, 8, 8))
    check_export(workload)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_noise_and_both_resets_are_trained_with(reset: str) -> None:
    stages = [STAGE | {"epochs": 1}, INT8_STAGE | {"weight_noise": 0.2}]
    results = []
    for changes in ({}, {}, {"stages": [stages[0], INT8_STAGE]}):
        training = session(**{"network": NETWORK | {"reset": reset}, "stages": stages} | changes)
        run(training)
        check_export(training.export({}))
        results.append(training.state.best_model)
    first, same, quiet = ([value.clone() for value in each.values()] for each in results)
    assert all(map(torch.equal, first, same))
    assert not all(map(torch.equal, first, quiet))


def test_bfloat16_is_trained_with_and_keeps_weights_in_float32() -> None:
    training = session(precision="bf16", stages=[STAGE | {"epochs": 2}, INT8_STAGE])
    log = run(training)
    assert all(np.isfinite(row["loss"]) for row in log)
    assert {value.dtype for value in training.model.state_dict().values()} == {
        torch.float32, torch.int64
    }  # fmt: skip
    check_export(training.export({}))


def test_batch_norms_learn_their_statistics_until_the_network_is_quantised() -> None:
    training = session(stages=[STAGE | {"epochs": 1}, INT8_STAGE])
    layer = training.model.weighted["0"]
    assert isinstance(layer, WeightedLayer) and layer.norm is not None
    seen = [layer.norm.running_mean.clone()]
    for _ in range(2):
        training.run_epoch(Progress())
        seen.append(layer.norm.running_mean.clone())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
