from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imcsim.activity import MEASURED_ACTIONS
from imcsim.functional.adc import Steps, largest_sum
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.exits import ExitPolicy, decide, exits_now
from imcsim.functional.forward import (
    FunctionalResult,
    build_model,
    ideal_model,
    pad,
    pool,
    run_batch,
    sums_scratch,
)
from imcsim.functional.readout import ExitScores, SigmaETables, evaluate
from imcsim.mapping import Mapping, map_network
from imcsim.network.build import build_network, derive_layers, expected_arrays
from imcsim.network.layers import Network, Neuron
from imcsim.network.reference import run_reference
from tests.mapping.chips import exact, rram64
from tests.reference.crossbar import read_layer
from tests.small_networks import (
    HALF,
    SMALL_NETWORKS,
    conv,
    events_network,
    linear,
    linear_network,
    max_pool_network,
    random_images,
    random_network,
    residual_network,
)
from tests.small_networks import pool as pool_spec

FIELDS = ("logits", "simulated", "measured_once", "measured_step", "spikes", "saturations")


def assert_equal(found: FunctionalResult, expected: FunctionalResult) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def noisy_steps(mapping: Mapping, images: np.ndarray) -> Steps:
    return calibrated_steps(mapping, images, mapping.network.timesteps)


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("size", [(16, 16), (64, 64), (33, 48)])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_an_ideal_chip_equals_the_reference(
    name: str, size: tuple[int, int], signed_weights: str
) -> None:
    network = SMALL_NETWORKS[name](seed=1)
    assert_chip_equals_reference(
        network,
        {
            "crossbar.rows": size[0],
            "crossbar.cols": size[1],
            "mapping.signed_weights": signed_weights,
        },
    )


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 6, 7, 8])
def test_an_ideal_chip_equals_the_reference_with_every_kind_of_cell(
    bits: int, signed_weights: str
) -> None:
    overrides = {"device.bits": bits, "mapping.signed_weights": signed_weights}
    assert_chip_equals_reference(residual_network(seed=2), overrides)


@pytest.mark.parametrize(
    "neuron",
    [
        Neuron(1, 1, "soft", 4, 16),
        Neuron(1, 0, "hard", 0, 12),
        Neuron(7, 3, "soft", 8, 24),
        Neuron(3, 2, "hard", 4, 10),
    ],
)
def test_an_ideal_chip_equals_the_reference_with_every_kind_of_neuron(neuron: Neuron) -> None:
    for make in (max_pool_network, residual_network):
        overrides = {"lif.membrane_bits": neuron.membrane_bits}
        assert_chip_equals_reference(make(seed=3, neuron=neuron), overrides)


def assert_chip_equals_reference(network: Network, overrides: dict[str, Any]) -> None:
    images = random_images(network, 3)
    expected = run_reference(network, images, 3)
    found = run_batch(ideal_model(map_network(network, rram64(overrides))), images, 3)
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.saturations.sum(axis=(0, 1)), expected.saturations)
    assert found.simulated.tolist() == [3, 3, 3]
    assert found.logits.any()


def test_a_narrow_membrane_saturates_as_often_as_in_the_reference() -> None:
    network = max_pool_network(seed=3, neuron=Neuron(3, 2, "hard", 4, 10))
    images = random_images(network, 3)
    assert run_reference(network, images).saturations.sum() > 0
    assert_chip_equals_reference(network, {"lif.membrane_bits": 16})


@pytest.mark.parametrize("model", ["weight", "device"])
def test_a_chip_with_coarse_converters_equals_the_scalar_twin(model: str) -> None:
    """Crossbars by the twin, neurons by the reference: layer for layer, with variation."""
    network = linear_network(seed=4)
    overrides: dict[str, Any] = {"device.variation": 0.2, "device.variation_model": model}
    chip = rram64({"adc.bits": 4, "crossbar.rows": 16} | overrides)
    mapping = map_network(network, chip)
    images = random_images(network, 2)
    steps: Steps = {0: np.array([117, 80]), 1: np.array([51, 64])}
    programmed = build_model(mapping, 9, steps)
    result = run_batch(programmed, images, 2)
    inputs = network.encode(images).transpose(0, 2, 3, 1).astype(np.int64)
    for i, image in enumerate(inputs):
        u = np.zeros(9, np.int64)
        hidden = network.layers[0]
        assert hidden.bias is not None
        assert hidden.threshold is not None
        for t in range(2):
            cells = programmed.cells[0]
            first = twin(mapping, cells.levels, cells.row_conductance, image, 0, [117, 80])
            acc = (first.out[0, 0] + 8) >> 4
            v = ((u + 1) >> 1) + (acc << 4) + hidden.bias
            v = np.clip(v, -(2**15), 2**15 - 1)
            spikes = v > hidden.threshold
            u = np.where(spikes, 0, v)
            cells = programmed.cells[1]
            fed = spikes.astype(np.int64)[None, None]
            last = twin(mapping, cells.levels, cells.row_conductance, fed, 1, [51, 64])
            assert network.layers[1].bias is not None
            expected = ((last.out[0, 0] + 8) >> 4) + network.layers[1].bias
            np.testing.assert_array_equal(result.logits[i, t], expected)
            blocks = mapping.layers[0].col_blocks
            assert blocks == 1
            assert result.measured_step[i, t].tolist() == [
                [first.activated, first.conductance, first.busy],
                [last.activated, last.conductance, last.busy],
            ]


def twin(
    mapping: Mapping, flat: Any, conductance: Any, image: Any, index: int, steps: list[int]
) -> Any:
    layer = mapping.network.layers[index]
    return read_layer(
        image, bits=layer.input_bits, signed=layer.input_signed, window=layer.window, stride=1,
        block_rows=16, levels=flat.reshape(len(flat), 2, -1), row_conductance=conductance,
        steps=steps, factors=[16, 1], max_code=15, offset=128,
    )  # fmt: skip


def test_every_column_of_crossbars_sees_the_activated_rows() -> None:
    network = max_pool_network()
    images = random_images(network, 2)
    wide = run_batch(ideal_model(map_network(network, exact())), images, 2)
    narrow_chip = exact({"crossbar.cols": 4, "adc.columns_per_adc": 4})
    mapping = map_network(network, narrow_chip)
    narrow = run_batch(ideal_model(mapping), images, 2)
    rows, conductance, busy = range(3)
    assert list(MEASURED_ACTIONS) == ["row_activation", "cell_conductance", "busy_read"]
    for m in mapping.layers:
        assert m.col_blocks == -(-m.c_out // 2)
        for action in (rows, busy):
            np.testing.assert_array_equal(
                narrow.measured_step[:, :, m.index, action],
                wide.measured_step[:, :, m.index, action] * m.col_blocks,
            )
    np.testing.assert_array_equal(
        narrow.measured_step[..., conductance], wide.measured_step[..., conductance]
    )


def test_spikes_are_counted_where_they_are_sent() -> None:
    network = residual_network(seed=5)
    images = random_images(network, 2)
    result = run_batch(ideal_model(map_network(network, exact())), images, 3)
    outputs = run_reference(network, images, 3, record=True).outputs
    assert outputs is not None
    for i, layer in enumerate(network.layers):
        sent = outputs[i].sum(axis=(2, 3, 4)) if layer.spikes or layer.is_pool else 0
        np.testing.assert_array_equal(result.spikes[:, :, i], np.broadcast_to(sent, (2, 3)))


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_keeping_the_first_layer_changes_no_score_and_counts_it_once(name: str) -> None:
    network = SMALL_NETWORKS[name](seed=6)
    images = random_images(network, 3)
    results = []
    for first_layer in ("every_timestep", "once"):
        mapping = map_network(network, rram64({"dataflow.first_layer": first_layer}))
        model = build_model(mapping, 1, noisy_steps(mapping, images))
        results.append(run_batch(model, images, 3))
    every, once = results
    np.testing.assert_array_equal(every.logits, once.logits)
    if network.encoding == "events":
        assert_equal(once, every)
        return
    assert not every.measured_once.any()
    np.testing.assert_array_equal(once.measured_once[:, 0], every.measured_step[:, 0, 0])
    assert not once.measured_step[:, :, 0].any()
    assert not once.measured_once[:, 1:].any()
    np.testing.assert_array_equal(once.measured_step[:, :, 1:], every.measured_step[:, :, 1:])
    # The same image again: the first layer does the same in every timestep.
    for t in range(3):
        np.testing.assert_array_equal(every.measured_step[:, t, 0], every.measured_step[:, 0, 0])


def scores_of(logits: np.ndarray, network: Network, scale: float) -> ExitScores:
    return evaluate(logits, scale, "sum", SigmaETables(3072, 3072, network.classes))


@pytest.mark.parametrize(
    "policy",
    [
        ExitPolicy.of("static"),
        ExitPolicy.of("entropy", 0.6),
        ExitPolicy.of("entropy", [0.7, 0.4, 0.4, 0.2]),
        ExitPolicy.of("confidence", 0.7),
        ExitPolicy.of("margin", 1.0),
        ExitPolicy.of("oracle"),
    ],
    ids=lambda policy: f"{policy.name}{len(policy.theta)}",
)
@pytest.mark.parametrize("first_layer", ["every_timestep", "once"])
@pytest.mark.parametrize("name", ["max_pool", "residual", "events"])
def test_stopping_at_the_exit_gives_the_scores_and_counts_of_a_full_run_so_far(
    name: str, first_layer: str, policy: ExitPolicy
) -> None:
    network = SMALL_NETWORKS[name](seed=7, timesteps=5)
    images = random_images(network, 8)
    mapping = map_network(network, rram64({"dataflow.first_layer": first_layer}))
    model = build_model(mapping, 2, noisy_steps(mapping, images))
    full = run_batch(model, images, 5)
    scale = 1.5 / max(int(np.abs(full.logits).max()), 1)
    scores = scores_of(full.logits, network, scale)
    labels = np.arange(8) % network.classes
    expected = decide(policy, scores, labels, 5)

    def stop(so_far: np.ndarray, running: np.ndarray) -> np.ndarray:
        return exits_now(policy, scores_of(so_far, network, scale), labels[running], 5)

    stopped = run_batch(model, images, 5, stop=stop)
    np.testing.assert_array_equal(stopped.simulated, expected)
    np.testing.assert_array_equal(stopped.measured_once, full.measured_once)
    for i, steps in enumerate(expected):
        np.testing.assert_array_equal(stopped.logits[i, :steps], full.logits[i, :steps])
        assert not stopped.logits[i, steps:].any()
        assert not stopped.measured_step[i, steps:].any()
        assert not stopped.spikes[i, steps:].any()
        np.testing.assert_array_equal(
            stopped.measured_step[i, :steps], full.measured_step[i, :steps]
        )


def test_a_batch_whose_images_have_all_left_stops() -> None:
    network = max_pool_network(timesteps=4)
    model = ideal_model(map_network(network, exact()))
    called: list[tuple[int, list[int]]] = []

    def stop(so_far: np.ndarray, running: np.ndarray) -> np.ndarray:
        called.append((so_far.shape[1], running.tolist()))
        return np.ones(len(so_far), bool)

    result = run_batch(model, random_images(network, 3), 4, stop=stop)
    assert called == [(1, [0, 1, 2])]
    assert result.simulated.tolist() == [1, 1, 1]


def test_an_image_of_width_one_is_padded_like_any_other() -> None:
    network = random_network([conv("conv1", -1, 3), linear("fc", 0, 3)], (2, 5, 1), seed=8)
    assert_chip_equals_reference(network, {})
    thin = np.zeros((1, 2, 5, 1), np.uint8).transpose(0, 2, 3, 1)
    assert pad(thin, 1).flags.c_contiguous
    assert pad(thin, 0).flags.c_contiguous


def test_a_wide_average_pool_does_not_overflow_its_bytes() -> None:
    specs = [pool_spec("pool", -1, "avg_pool", 4), linear("fc", 0, 3)]
    network = random_network(specs, (1, 8, 8), seed=9, signed_image=False)
    layer = network.layers[0]
    # 16 pixels of up to 15 are 240; of up to 127, 2032.
    assert pool(np.full((1, 8, 8, 1), 15, np.int8), layer).max() == 240
    assert_chip_equals_reference(network, {})
    wide = events_with_range(127)
    summed = pool(np.full((1, 8, 8, 1), 127, np.int8), wide.layers[0])
    assert summed.max() == 2032
    assert_chip_equals_reference(wide, {})


def events_with_range(largest: int) -> Network:
    specs = [pool_spec("pool", -1, "avg_pool", 4), linear("fc", 0, 3)]
    layers = derive_layers((1, 8, 8), (0, largest), specs)
    rng = np.random.default_rng(0)
    arrays = {
        key: np.ones(shape, dtype) if "scale" in key else rng.integers(-9, 9, shape).astype(dtype)
        for key, (dtype, shape) in expected_arrays(layers).items()
    }
    table = np.minimum(np.arange(256), largest).astype(np.int8)[None]
    return build_network(
        name="wide", image_shape=(1, 8, 8), classes=3, timesteps=3, encoding="direct",
        neuron=HALF, input_table=table, logit_scale=1.0,
        specs=specs, arrays=arrays,
    )  # fmt: skip


def test_column_sums_get_the_narrowest_integer_that_cannot_overflow() -> None:
    network = max_pool_network()
    for overrides, dtype in (
        ({}, np.uint16),
        ({"device.bits": 8, "crossbar.rows": 257}, np.uint16),
        ({"device.bits": 8, "crossbar.rows": 258}, np.uint32),
    ):
        mapping = map_network(network, exact(overrides))
        model = ideal_model(mapping)
        assert sums_scratch(mapping, model.cells[0]).dtype == dtype
        assert largest_sum(mapping) <= np.iinfo(dtype).max


def test_events_need_no_more_than_their_own_frames() -> None:
    network = events_network(seed=10)
    images = random_images(network, 2)
    other = images.copy()
    other[:, 2] = 0
    model = ideal_model(map_network(network, exact()))
    first, second = run_batch(model, images, 3), run_batch(model, other, 3)
    np.testing.assert_array_equal(first.logits[:, :2], second.logits[:, :2])
    assert (first.logits[:, 2] != second.logits[:, 2]).any()
