"""The paper's networks by their published numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from imcsim.mapping import map_network
from imcsim.network.build import LayerSpec, derive_layers
from imcsim.network.layers import Layer, Shape
from imcsim.training.architectures import resnet19, vgg
from tests.mapping.chips import rram64
from tests.mapping.networks import zero_network


def layers_of(specs: Sequence[LayerSpec], image: Shape = (3, 32, 32)) -> list[Layer]:
    return list(derive_layers(image, (-128, 127), specs))


def weights(layer: Layer) -> int:
    k_h, k_w = layer.window
    return 0 if layer.is_pool else layer.input_shape[0] * k_h * k_w * layer.output_shape[0]


def operations(layer: Layer) -> int:
    """Multiply-accumulates of one timestep."""
    return weights(layer) * math.prod(layer.output_shape[1:])


def crossbars(layers: Sequence[Layer]) -> int:
    """64×64 each, two 4-bit cells per weight side by side."""
    total = 0
    for layer in layers:
        if not layer.is_pool:
            c_out = layer.output_shape[0]
            total += math.ceil(weights(layer) // c_out / 64) * math.ceil(2 * c_out / 64)
    return total


def test_vgg16_has_the_paper_s_size() -> None:
    layers = layers_of(vgg(32, 10))
    assert sum(map(weights, layers)) == pytest.approx(14.72e6, abs=0.005e6)
    assert sum(map(operations, layers)) == pytest.approx(313.2e6, abs=0.05e6)
    assert sum(layer.neurons for layer in layers) == 276_480
    assert [layer.kind for layer in layers if not layer.is_pool] == ["conv"] * 13 + ["linear"]
    assert crossbars(layers) == 7192


@pytest.mark.needs_jit  # nothing to compile, but 15 million weights
def test_the_mapper_gives_vgg16_the_crossbars_of_the_paper() -> None:
    network = zero_network("vgg16", list(vgg(32, 10, pool="max")))
    assert map_network(network, rram64()).crossbars == 7192


def test_resnet19_has_the_size_of_the_authors_code() -> None:
    layers = layers_of(resnet19(32, 10))
    matrices = [layer for layer in layers if not layer.is_pool]
    assert sum(map(weights, layers)) == pytest.approx(12.56e6, abs=0.005e6)
    assert sum(map(operations, layers)) == pytest.approx(2285e6, abs=0.5e6)
    assert [layer.kernel for layer in matrices].count(3) == 17
    assert len(matrices) == 20
    assert crossbars(layers) == 6140


def test_a_block_s_input_goes_around_it() -> None:
    layers = layers_of(resnet19(32, 10))
    added = [layer.residual for layer in layers if layer.residual is not None]
    assert len(added) == 8
    shortcuts = [layers[i] for i in added if not layers[i].spikes]
    # Where channels double: an average pool, then a 1×1 convolution without neurons.
    assert [(s.kernel, layers[s.source].kind) for s in shortcuts] == [(1, "avg_pool")] * 2
    assert [layer.output_shape[1] for layer in layers if layer.name == "pool"] == [1]


@pytest.mark.parametrize(("pool", "highest"), [("avg", 4), ("max", 1)])
def test_a_max_pool_hands_on_spikes_and_an_average_pool_counts(pool: str, highest: int) -> None:
    specs = vgg(32, 10, pool="avg" if pool == "avg" else "max")
    behind = [layer for layer in layers_of(specs)[:-1] if not layer.is_pool][1:]
    assert max(layer.input_max for layer in behind) == highest


@pytest.mark.parametrize("width", [0.001, 0.06, 0.5, 2.0])
def test_the_width_scales_every_channel_but_leaves_one(width: float) -> None:
    for narrow, full in (
        (vgg(32, 10, width=width), vgg(32, 10)),
        (resnet19(32, 10, width), resnet19(32, 10)),
    ):
        for one, other in zip(narrow[:-1], full[:-1], strict=True):
            if other.channels is not None:
                assert one.channels == max(round(width * other.channels), 1)
        assert narrow[-1].channels == 10


@pytest.mark.parametrize("side", [28, 32, 64])
def test_the_classifier_reads_one_number_per_channel(side: int) -> None:
    for specs in (vgg(side, 10, (4, "pool", 8, "pool", 8)), resnet19(side, 10, 0.05)):
        assert layers_of(specs, (3, side, side))[-1].input_shape[1:] == (1, 1)


def test_the_narrowest_resnet19_still_has_its_shortcuts() -> None:
    layers = layers_of(resnet19(32, 10, 1e-3))
    assert {layer.output_shape[0] for layer in layers[:-1]} == {1}
    assert [layer.name for layer in layers if "shortcut" in layer.name] == [
        "block4_shortcut",
        "block7_shortcut",
    ]


def test_an_image_that_is_too_small_for_the_pools_is_refused() -> None:
    with pytest.raises(ValueError, match="4 pools need an image of at least 16 pixels"):
        vgg(15, 10)


def test_resnet19_needs_a_side_that_4_divides() -> None:
    with pytest.raises(ValueError, match="must have a side that 4 divides, not 30"):
        resnet19(30, 10)
