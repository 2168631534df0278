from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.functional.adc import AdcSettings
from imcsim.functional.vector_layout import Converter, converter
from imcsim.functional.vector_reads import Conductances, VectorLayer, quantised, vector_layer
from imcsim.kernels.crossbar import read_crossbars
from imcsim.mapping import LayerMapping, map_network
from imcsim.mapping.slicing import Plane, Slicing, slice_weights
from imcsim.network.layers import Neuron
from tests.mapping.chips import exact
from tests.reference.crossbar import read_layer
from tests.small_networks import conv, linear, random_network

OFFSET = Slicing(4, "offset", (Plane(1, 4), Plane(1, 0)))
PAIRS = Slicing(4, "differential", (Plane(1, 4), Plane(-1, 4), Plane(1, 0), Plane(-1, 0)))
WHOLE = Slicing(8, "offset", (Plane(1, 0),))
BINARY = Slicing(1, "offset", tuple(Plane(1, s) for s in reversed(range(8))))
THIRDS = Slicing(3, "offset", (Plane(1, 6), Plane(1, 3), Plane(1, 0)))
KINDS = {"levels": None, "float32": None, "1/8 level": 8, "1/16 level": 16}


def placed_layer(
    channels: int, size: tuple[int, int], window: int, stride: int, outputs: int, block_rows: int
) -> LayerMapping:
    """A convolution without padding on crossbars of any height."""
    spec = conv("conv", -1, outputs, kernel=window, stride=stride, padding=0)
    network = random_network(
        [spec, linear("fc", 0, 2)], (channels, *size), neuron=Neuron(1, 1, "hard", 0, 32)
    )
    overrides = {"crossbar.rows": block_rows, "lif.membrane_bits": 32}
    return map_network(network, exact(overrides)).layers[0]


def random_inputs(
    rng: np.random.Generator, placed: LayerMapping, density: float, images: int = 2
) -> npt.NDArray[Any]:
    layer = placed.layer
    channels, height, width = layer.input_shape
    values = rng.integers(-128, 128, (images, height, width, channels))
    values *= rng.random(values.shape) < density
    return values.astype(np.int8)


def held_by(kind: str, levels: npt.NDArray[np.uint8], rng: np.random.Generator) -> Conductances:
    if kind == "levels":
        return Conductances(levels)
    varied = (levels + rng.normal(0, 2, levels.shape)).astype(np.float32)
    per_level = KINDS[kind]
    return Conductances(varied) if per_level is None else quantised(varied, per_level)


def in_levels(held: Conductances) -> npt.NDArray[Any]:
    """The same cells as the plain kernel takes them; multiples of 1/8 are exact in float32."""
    if held.cells.dtype in (np.uint8, np.float32) and held.per_level == 1:
        return held.cells
    return ((held.cells.astype(np.float32) - held.pedestal) / held.per_level).astype(np.float32)


def settings_of(steps: list[int], slicing: Slicing, max_code: int, guarded: bool) -> AdcSettings:
    step = np.array(steps[: len(slicing.planes)], np.int64)
    return AdcSettings(
        bias=(step / 32 + (1 / 64 if guarded else 0)).astype(np.float32),
        inverse_step=(16 / step).astype(np.float32),
        factor=np.array([p.factor for p in slicing.planes] * step, np.int32),
        max_code=max_code,
    )


def both(
    placed: LayerMapping,
    slicing: Slicing,
    held: Conductances,
    adc: AdcSettings,
    inputs: npt.NDArray[Any],
    conductance: npt.NDArray[np.int64],
) -> tuple[VectorLayer | None, list[tuple[Any, Any]]]:
    """Output and counts of the vector kernel and of the plain one."""
    layer, levels = placed.layer, in_levels(held)
    shape = (len(inputs), *layer.output_shape[1:], layer.output_shape[0])
    results = [(np.full(shape, 9, np.int32), np.full((len(inputs), 3), 9)) for _ in range(2)]
    fast = vector_layer(placed, slicing, held, conductance, adc)
    if fast is not None:
        fast.read(inputs, *results[0])
    sums = np.zeros(levels.shape[1], np.float32 if levels.dtype == np.float32 else np.uint32)
    read_crossbars(
        inputs, layer.input_bits, layer.input_signed, layer.window, layer.stride,
        placed.crossbar_rows, levels, conductance, adc.bias, adc.inverse_step, adc.factor,
        adc.max_code, 16 * slicing.offset, sums, *results[1],
    )  # fmt: skip
    out = results[1][0]
    out += 8
    out >>= 4
    return fast, results


@pytest.mark.needs_jit
@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3, 8, 16, 24]),
    size=st.tuples(st.integers(0, 4), st.integers(0, 5)),
    window=st.integers(1, 5),
    stride=st.integers(1, 3),
    outputs=st.sampled_from([1, 5, 16, 33, 64, 70, 130]),
    block_rows=st.sampled_from([16, 24, 33, 64, 300]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    halves=st.lists(st.integers(2, 40), min_size=8, max_size=8),
    max_code=st.sampled_from([1, 3, 15, 63, 255, 4095]),
    slicing=st.sampled_from([OFFSET, PAIRS, WHOLE, BINARY, THIRDS]),
    kind=st.sampled_from(list(KINDS)),
)
def test_vectors_read_what_the_plain_kernel_reads_bit_for_bit(
    seed: int,
    channels: int,
    size: tuple[int, int],
    window: int,
    stride: int,
    outputs: int,
    block_rows: int,
    density: float,
    halves: list[int],
    max_code: int,
    slicing: Slicing,
    kind: str,
) -> None:
    rng = np.random.default_rng(seed)
    placed = placed_layer(
        channels, (window + size[0], window + size[1]), window, stride, outputs, block_rows
    )
    levels = slice_weights(rng.integers(-127, 128, (placed.rows, outputs)), slicing)
    held = held_by(kind, levels.reshape(placed.rows, -1), rng)
    adc = settings_of([8 * h for h in halves], slicing, max_code, kind != "float32")
    inputs = random_inputs(rng, placed, density)
    conductance = rng.integers(-10, 1000, placed.rows)
    fast, (found, expected) = both(placed, slicing, held, adc, inputs, conductance)
    if fast is not None:
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", ["levels", "float32"])
@pytest.mark.parametrize("slicing", [OFFSET, WHOLE])
@pytest.mark.parametrize(
    ("channels", "window", "stride", "block_rows"),
    [(16, 3, 1, 16), (3, 3, 2, 16), (20, 1, 1, 16), (20, 1, 2, 16)],
)
def test_vectors_read_what_the_scalar_twin_reads(
    channels: int, window: int, stride: int, block_rows: int, slicing: Slicing, kind: str
) -> None:
    rng = np.random.default_rng(1)
    placed = placed_layer(channels, (window + 1, window + 2), window, stride, 3, block_rows)
    levels = slice_weights(rng.integers(-127, 128, (placed.rows, 3)), slicing)
    held = held_by(kind, levels.reshape(placed.rows, -1), rng)
    steps = [40, 24][: len(slicing.planes)]
    adc = settings_of(steps, slicing, 63, kind == "levels")
    inputs = random_inputs(rng, placed, 0.5)[:1]
    conductance = rng.integers(-10, 1000, placed.rows)
    fast = vector_layer(placed, slicing, held, conductance, adc)
    assert fast is not None
    out = np.full((1, *placed.layer.output_shape[1:], 3), 9, np.int32)
    counts = np.full((1, 3), 9)
    fast.read(inputs, out, counts)
    twin = read_layer(
        inputs[0].astype(np.int64), bits=8, signed=True, window=(window, window), stride=stride,
        block_rows=block_rows, levels=held.cells.reshape(placed.rows, -1, 3),
        row_conductance=conductance, steps=steps, factors=[p.factor for p in slicing.planes],
        max_code=63, offset=slicing.offset,
    )  # fmt: skip
    np.testing.assert_array_equal(out[0], (twin.out + 8) >> 4)
    assert counts[0].tolist() == [twin.activated, twin.conductance, twin.busy]


@pytest.mark.needs_jit
def test_the_shapes_of_vgg16_and_resnet_are_read_by_vectors() -> None:
    """None falls back to the plain kernel, and tiles of 64 outputs are full."""
    rng = np.random.default_rng(2)
    for channels, window, stride in ((64, 3, 1), (64, 3, 2), (64, 1, 2), (3, 3, 1)):
        placed = placed_layer(channels, (9, 7), window, stride, 64, 64)
        levels = slice_weights(rng.integers(-127, 128, (placed.rows, 64)), OFFSET)
        for kind in KINDS:
            held = held_by(kind, levels.reshape(placed.rows, -1), rng)
            adc = settings_of([40, 56], OFFSET, 63, kind != "float32")
            inputs = random_inputs(rng, placed, 0.3, images=3)
            fast, (found, expected) = both(
                placed, OFFSET, held, adc, inputs, np.ones(placed.rows, np.int64)
            )
            assert fast is not None
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.needs_jit
def test_sums_that_would_overflow_16_bits_are_combined_in_between() -> None:
    """Lossless converters add whole sums of 4,608 rows up: 69,120 levels."""
    placed = placed_layer(512, (3, 3), 3, 1, 4, 64)
    levels = np.full((placed.rows, 8), 15, np.uint8)
    adc = settings_of([16, 16], OFFSET, 960, True)
    inputs = np.full((1, 3, 3, 512), -1, np.int8)
    conductance = np.ones(placed.rows, np.int64)
    fast, (found, expected) = both(placed, OFFSET, Conductances(levels), adc, inputs, conductance)
    assert fast is not None
    assert fast.flush_every < 8 * 3
    np.testing.assert_array_equal(found[0], expected[0])


@given(
    step=st.integers(16, 400),
    largest=st.integers(0, 40_000),
    max_code=st.sampled_from([1, 3, 63, 255, 4095]),
)
def test_a_converter_follows_the_rule_for_every_sum(step: int, largest: int, max_code: int) -> None:
    found = converter(step, largest, max_code)
    if found is None:
        assert step % 8
        return
    sums = np.arange(largest + 1)
    expected = np.minimum((2 * 16 * sums + step) // (2 * step), max_code)
    codes = sums + found.bias
    assert codes[-1] < 1 << 16
    if found.multiplier:
        codes = (codes * found.multiplier) >> 16 >> found.shift
    np.testing.assert_array_equal(np.minimum(codes, max_code), expected)


@pytest.mark.parametrize("rows", [16, 64, 128, 256, 512])
@pytest.mark.parametrize("max_code", [15, 31, 63, 127, 255, 511])
def test_every_calibrated_step_has_a_converter(rows: int, max_code: int) -> None:
    """Half levels, up to the step that spans all sums of 4-bit cells."""
    largest = 15 * rows
    for halves in range(2, 2 * largest // max_code + 2):
        assert converter(8 * halves, largest, max_code) is not None


def test_a_step_of_one_level_needs_no_product() -> None:
    assert converter(16, 960, 63) == Converter(0, 0, 0)


def test_quantised_conductances_keep_their_values_to_half_a_step() -> None:
    levels = np.linspace(-1.7, 24, 1000, dtype=np.float32)[:, None]
    for per_level in (8, 16):
        held = quantised(levels, per_level)
        error = (held.cells.astype(float) - held.pedestal) / per_level - levels
        assert np.abs(error).max() <= 0.5 / per_level + 1e-6
    assert quantised(levels, 8).cells.dtype == np.uint8
    assert quantised(levels, 16).cells.dtype == np.int16


def test_conductances_beyond_8_bits_are_cut_off() -> None:
    held = quantised(np.array([[-1.0, 40.0]], np.float32), 8)
    assert held.pedestal == 8
    assert held.cells.tolist() == [[0, 255]]


def test_what_16_bits_cannot_hold_is_left_to_the_plain_kernel() -> None:
    rng = np.random.default_rng(3)
    placed = placed_layer(64, (3, 3), 3, 1, 4, 512)
    levels = slice_weights(rng.integers(-127, 128, (placed.rows, 4)), WHOLE).reshape(-1, 4)
    conductance = np.ones(placed.rows, np.int64)
    # Sums up to 512 · 255, and a step for which no constants are exact.
    held = Conductances(np.full_like(levels, 255))
    assert (
        vector_layer(placed, WHOLE, held, conductance, settings_of([16], WHOLE, 255, True)) is None
    )
    assert converter(117, 15 * 512, 63) is None
    held = Conductances(np.minimum(levels, 15))
    odd = settings_of([117], WHOLE, 63, True)
    assert vector_layer(placed, WHOLE, held, conductance, odd) is None


def test_inputs_of_another_size_are_refused() -> None:
    rng = np.random.default_rng(4)
    placed = placed_layer(16, (4, 4), 3, 1, 4, 16)
    levels = slice_weights(rng.integers(-127, 128, (placed.rows, 4)), OFFSET).reshape(-1, 8)
    adc = settings_of([40, 24], OFFSET, 63, True)
    fast = vector_layer(placed, OFFSET, Conductances(levels), np.ones(placed.rows, np.int64), adc)
    assert fast is not None
    out, counts = np.zeros((1, 2, 2, 4), np.int32), np.zeros((1, 3), np.int64)
    for wrong in (np.zeros((1, 4, 3, 16), np.int8), np.zeros((2, 4, 4, 16), np.int8)):
        with pytest.raises(ValueError, match="shape"):
            fast.read(wrong, out, counts)
    with pytest.raises(ValueError, match="shape"):
        fast.read(np.zeros((1, 4, 4, 16), np.int8), out[:, :1], counts)
