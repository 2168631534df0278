"""Which networks are refused, and what is derived from the list of layers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from imcsim.errors import WorkloadError
from imcsim.network.build import (
    LayerSpec,
    build_network,
    derive_layers,
    expected_arrays,
    image_range,
    spec_of,
)
from imcsim.network.layers import Network, Neuron
from tests.small_networks import (
    HALF,
    SMALL_NETWORKS,
    conv,
    linear,
    max_pool_network,
    pool,
    residual_network,
)

SIGNED = (-128, 127)


def rebuilt(network: Network, arrays: dict[str, Any] | None = None, **changes: Any) -> Network:
    """`network` built again from its parts, some of them changed."""
    own = {}
    for key in expected_arrays(network.layers):
        prefix, field = key.split(".")
        own[key] = getattr(network.layers[int(prefix[1:])], field)
    said: dict[str, Any] = {
        "name": network.name,
        "image_shape": network.image_shape,
        "classes": network.classes,
        "timesteps": network.timesteps,
        "encoding": network.encoding,
        "neuron": network.neuron,
        "input_table": network.input_table,
        "logit_scale": network.logit_scale,
        "specs": [spec_of(layer) for layer in network.layers],
    }
    return build_network(**(said | changes), arrays=own | (arrays or {}))


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_network_built_from_its_own_parts_is_the_same(name: str) -> None:
    network = SMALL_NETWORKS[name]()
    again = rebuilt(network)
    for layer, twin in zip(network.layers, again.layers, strict=True):
        for field in dataclasses.fields(layer):
            np.testing.assert_array_equal(getattr(layer, field.name), getattr(twin, field.name))


def test_shapes_and_ranges_follow_from_the_image() -> None:
    specs = [
        conv("a", -1, 8),
        pool("b", 0, "avg_pool"),
        conv("c", 1, 16, stride=2),
        pool("d", 2, "max_pool"),
        pool("e", 3, "avg_pool", 2),
        linear("f", 4, 10),
    ]
    layers = derive_layers((3, 32, 32), SIGNED, specs)
    assert [layer.output_shape for layer in layers] == [
        (8, 32, 32), (8, 16, 16), (16, 8, 8), (16, 4, 4), (16, 2, 2), (10, 1, 1),
    ]  # fmt: skip
    assert [layer.input_max for layer in layers] == [127, 1, 4, 1, 1, 4]
    assert [layer.input_bits for layer in layers] == [8, 1, 3, 1, 1, 3]
    assert layers[0].input_signed and not layers[2].input_signed


def test_averages_of_averages_count_up() -> None:
    specs = [
        conv("a", -1, 2),
        pool("b", 0, "avg_pool"),
        pool("c", 1, "avg_pool"),
        linear("d", 2, 2),
    ]
    assert derive_layers((1, 8, 8), SIGNED, specs)[-1].input_max == 16


def test_an_image_without_negative_values_is_unsigned() -> None:
    table = np.zeros((1, 256), np.int8)
    table[0, 5] = 9
    assert image_range(table) == (0, 9)
    table[0, 6] = -1
    assert image_range(table) == (-128, 127)


FAULTY_LISTS = [
    ([], "layers: the network has none"),
    ([linear("a", 3, 2)], "there is no layer 3"),
    ([conv("a", 1, 2), linear("b", 0, 2)], "topological order"),
    ([conv("a", 0, 2), linear("b", 0, 2)], "comes later or is the layer itself"),
    ([conv("a", -1, 2, spikes=False), linear("b", 0, 2)], "has no neurons; its accumulators"),
    ([pool("a", -1, "max_pool"), linear("b", 0, 2)], "max_pool needs binary inputs"),
    ([pool("a", -1, "avg_pool"), linear("b", 0, 2)], "cannot count signed inputs"),
    (
        [conv("a", -1, 2), pool("b", 0, "avg_pool"), pool("c", 1, "max_pool"), linear("d", 2, 2)],
        "layer 1 gives 0..4",
    ),
    ([conv("a", -1, 2), linear("b", 0, 2, spikes=True)], "the last layer must be linear"),
    ([conv("a", -1, 2)], "the last layer must be linear"),
    ([conv("a", -1, 2), conv("b", 0, 2), linear("c", 0, 2)], "layers[1] (b): no layer reads"),
    ([conv("a", -1, 2, kernel=9), linear("b", 0, 2)], "9×9 does not fit the 6×6"),
    ([LayerSpec(name="a", kind="conv", source=-1), linear("b", 0, 2)], "channels: missing"),
    (
        [conv("a", -1, 2), LayerSpec(name="p", kind="max_pool", source=0, padding=1)],
        "a pool has no channels, neurons, residual or padding",
    ),
    (
        [LayerSpec(name="a", kind="linear", source=-1, channels=2, kernel=3)],
        "a linear layer has no kernel",
    ),
    (
        [conv("a", -1, 2), conv("b", 0, 3, residual=0), linear("c", 1, 2)],
        "residual: layer 0 has shape (2, 6, 6), this layer's output (3, 6, 6)",
    ),
    ([conv("a", -1, 2), conv("b", 0, 2, residual=1), linear("c", 1, 2)], "comes later or is"),
    (
        [conv("a", -1, 2), conv("b", 0, 2, residual=0, spikes=False), linear("c", 0, 2)],
        "only a layer with neurons can add",
    ),
    (
        [
            conv("a", -1, 2),
            pool("b", 0, "avg_pool"),
            conv("c", 1, 2, residual=1),
            linear("d", 2, 2),
        ],
        "layer 1 gives counts",
    ),
    ([conv("a", -1, 60000, padding=60000), linear("b", 0, 2)], "absurdly large"),
]


@pytest.mark.parametrize(("specs", "reason"), FAULTY_LISTS, ids=[r for _, r in FAULTY_LISTS])
def test_a_faulty_list_of_layers_is_refused_in_one_line(
    specs: list[LayerSpec], reason: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        derive_layers((2, 6, 6), SIGNED, specs)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_possible_sum_must_fit_32_bits() -> None:
    """132,105 inputs of 8 bits: 132,105 · 127 · 128 is just below 2^31; one row more is above."""
    rows = 2**31 // (127 * 128)

    def built(width: int) -> Network:
        return build_network(
            name="wide",
            image_shape=(1, 1, width),
            classes=2,
            timesteps=1,
            encoding="direct",
            neuron=HALF,
            input_table=np.full((1, 256), -1, np.int8),
            logit_scale=1.0,
            specs=[linear("fc", -1, 2)],
            arrays={
                "L0.weight": np.zeros((2, width), np.int8),
                "L0.scale": np.ones(2),
                "L0.bias": np.zeros(2, np.int32),
            },
        )

    assert built(rows).layers[0].input_max == 127
    with pytest.raises(WorkloadError, match=r"L0.weight: the accumulators could overflow 32 bits"):
        built(rows + 1)


FAULTY_NEURONS = [
    ({"leak_shift": 17}, "leak_shift: 17 is not in 0..16"),
    ({"leak_shift": -1}, "leak_shift: -1"),
    ({"leak_multiplier": 3}, "leak_multiplier: 3 is not in 1..2"),
    ({"leak_multiplier": 0}, "leak_multiplier: 0"),
    ({"reset": "none"}, "neuron.reset: 'none'"),
    ({"fraction_bits": 17}, "fraction_bits: 17"),
    ({"membrane_bits": 33}, "membrane_bits: 33"),
    ({"membrane_bits": 3}, "membrane_bits: 3"),
]


@pytest.mark.parametrize(("change", "reason"), FAULTY_NEURONS)
def test_faulty_neurons_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(WorkloadError, match=reason):
        rebuilt(max_pool_network(), neuron=dataclasses.replace(HALF, **change))


def faulty_arrays() -> list[tuple[str, Any, str]]:
    layer = max_pool_network().layers[0]
    assert layer.weight is not None and layer.scale is not None and layer.threshold is not None
    too_low = np.array(layer.weight)
    too_low[0, 0, 0, 0] = -128
    nan, zero = np.array(layer.scale), np.array(layer.scale)
    nan[1], zero[1] = np.nan, 0
    at_zero, unreachable = np.array(layer.threshold), np.array(layer.threshold)
    at_zero[2], unreachable[2] = 0, 2**15 - 1
    return [
        ("L0.weight", too_low, "−128 found"),
        ("L0.weight", layer.weight.astype(np.int16), "dtype int16, expected int8"),
        ("L0.weight", layer.weight[:, :, :2], r"shape \(5, 2, 2, 3\), expected \(5, 2, 3, 3\)"),
        ("L0.scale", nan, "NaN, infinite or not positive"),
        ("L0.scale", zero, "NaN, infinite or not positive"),
        ("L0.threshold", at_zero, r"must be in 1..32766 for 16-bit membranes, found 0.."),
        ("L0.threshold", unreachable, r"must be in 1..32766"),
        ("L3.scale", np.array([1.0, 1.0, 1.0, 2.0]), "the classifier has one scale"),
    ]


@pytest.mark.parametrize(("key", "array", "reason"), faulty_arrays())
def test_faulty_arrays_are_refused_by_name(key: str, array: Any, reason: str) -> None:
    with pytest.raises(WorkloadError, match=f"{key}: .*{reason}"):
        rebuilt(max_pool_network(), {key: array})


def test_a_missing_array_is_named() -> None:
    network = max_pool_network()
    specs = [spec_of(layer) for layer in network.layers]
    with pytest.raises(WorkloadError, match=r"L0.weight: missing"):
        build_network(
            name="x",
            image_shape=network.image_shape,
            classes=4,
            timesteps=1,
            encoding="direct",
            neuron=HALF,
            input_table=network.input_table,
            logit_scale=1.0,
            specs=specs,
            arrays={},
        )


def test_the_number_of_classes_is_the_classifiers() -> None:
    with pytest.raises(WorkloadError, match=r"classes: 5, but the classifier has 4 outputs"):
        rebuilt(max_pool_network(), classes=5)


def test_a_shortcut_convolution_has_no_bias_of_its_own() -> None:
    with pytest.raises(WorkloadError, match=r"L4.bias: must be 0"):
        rebuilt(residual_network(), {"L4.bias": np.ones(6, np.int32)})


def test_the_leak_may_be_none() -> None:
    neuron = Neuron(1, 0, "soft", 0, 32)
    assert rebuilt(max_pool_network(), neuron=neuron).neuron == neuron


def test_arrays_of_a_network_cannot_be_changed() -> None:
    weight = max_pool_network().layers[0].weight
    assert weight is not None
    with pytest.raises(ValueError, match="read-only"):
        weight[0] = 1
