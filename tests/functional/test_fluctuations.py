"""Read noise and input noise of whole layers against one read after the other, and in batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.chip import Chip, load_chip
from imcsim.chip.nonidealities import InputNoise, ReadNoise
from imcsim.errors import MappingError
from imcsim.functional.adc import adc_settings, lossless_steps, uniform_steps
from imcsim.functional.cells import ProgrammedLayer, program
from imcsim.functional.devices import CellContext, Fluctuations, pedestal_levels
from imcsim.functional.devices.chain import find
from imcsim.functional.devices.noisy_read import column_sums
from imcsim.functional.devices.read_draws import Read, ReadKind
from imcsim.functional.forward import FunctionalResult, build_model, ideal_model, run_batch
from imcsim.functional.general_reads import needs_general_reads, read_general
from imcsim.mapping import LayerMapping, Mapping, map_network
from imcsim.network.reference import run_reference
from tests.chip.files import ARCH
from tests.functional.test_general_reads import spiking_network
from tests.small_networks import max_pool_network, random_images

Array = npt.NDArray[Any]

FINE = 1 << 12
"""Codes per level: converters so fine that a sum can be read off its code."""
READ_NOISE = {"model": "read_noise", "sigma": 0.03}
FLAT_NOISE = READ_NOISE | {"spread": "constant"}
INPUT_NOISE = {"model": "input_noise", "sigma": 0.04}


PROGRAMMED = {"model": "programming", "spread": "proportional", "sigma": 0.1}
OVERRIDES: dict[str, Any] = {
    "device.variation": 0.0, "mapping.signed_weights": "differential", "device.bits": 7,
    "crossbar.rows": 16, "crossbar.cols": 12, "adc.columns_per_adc": 4,
}  # fmt: skip


def load(overrides: dict[str, Any]) -> Chip:
    return load_chip(ARCH / "rram64.yaml", overrides)


def noisy(*entries: dict[str, Any], **keys: Any) -> Chip:
    """Differential cells, so that sums need no correction."""
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return load(OVERRIDES | {"device.nonidealities": entries} | named)


def fine_sums(
    mapping: Mapping, placed: LayerMapping, inputs: Array, when: tuple[int, int]
) -> Array:
    """(y, x, c_out): positive minus negative column sums [levels] of one image."""
    cells = program(mapping, placed, 5)
    adc = adc_settings(mapping, placed, lossless_steps(mapping), 1 << 30, cells, 5)
    adc = replace(
        adc,
        bias=np.zeros_like(adc.bias),
        inverse_step=np.full_like(adc.inverse_step, FINE),
    )
    numbers = np.array([when[0]])
    found, _ = read_general(mapping, placed, cells, adc, inputs[None], numbers, when[1])
    return np.asarray(found[0] / FINE)


def slow_sums(
    mapping: Mapping, placed: LayerMapping, inputs: Array, when: tuple[int, int]
) -> Array:
    """The same sums, one window, bit and group of rows after the other."""
    chip, layer = mapping.chip, placed.layer
    factors = np.array([plane.factor for plane in mapping.slicing.planes])
    context, models = CellContext.of(chip, placed, 5), chip.device.models
    conductance = full_conductance(mapping, placed, program(mapping, placed, 5))
    c_out, height, width = layer.output_shape
    y, x, c = np.unravel_index(placed.matrix_rows, (*layer.window, layer.input_shape[0]))
    dummy = np.full_like(conductance, context.pedestal)
    out = np.zeros((height, width, c_out))
    ends = (*placed.row_starts[1:], placed.rows)
    for oy, ox, bit in np.ndindex(height, width, layer.input_bits):
        carried = inputs[oy * layer.stride + y, ox * layer.stride + x, c].astype(int)
        worth = 2**bit * (-1 if layer.input_signed and bit == layer.input_bits - 1 else 1)
        number = 0
        for top, end in zip(placed.row_starts, ends, strict=True):
            for first in range(top, end, placed.rows_per_read):
                rows = np.arange(top, end)
                active = (carried[top:end] >> bit & 1 == 1) & (rows >= first)
                active &= rows < first + placed.rows_per_read
                at = Read(ReadKind.COLUMN, placed.index, *when, oy * width + ox, bit, number)
                inputs_off = find(models, InputNoise)
                block = conductance[top:end]
                sums = column_sums(block, active, at, context, find(models, ReadNoise), inputs_off)
                if chip.device.off_current == "corrected":
                    # The dummy column's cells are exact; its word lines are those of the others.
                    sums -= column_sums(dummy[top:end], active, at, context, None, inputs_off)
                sums = np.maximum(sums, 0)  # a converter has no codes below 0
                out[oy, ox] += worth * (factors @ sums)
                number += 1
    return out


def full_conductance(mapping: Mapping, placed: LayerMapping, cells: ProgrammedLayer) -> Array:
    """float64 (rows, planes, c_out): R_off's share included."""
    levels = cells.levels.reshape(placed.rows, len(mapping.slicing.planes), -1).astype(float)
    holds_off = cells.levels.dtype == np.float32 and mapping.chip.device.off_current != "corrected"
    return levels if holds_off else levels + pedestal_levels(mapping.chip)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    "chip",
    [
        noisy(READ_NOISE),
        noisy(FLAT_NOISE),
        noisy(INPUT_NOISE),
        noisy(READ_NOISE, INPUT_NOISE, PROGRAMMED, crossbar__rows_per_read=5),
        noisy(FLAT_NOISE, INPUT_NOISE, device__off_current="uncorrected"),
        noisy(READ_NOISE, INPUT_NOISE, PROGRAMMED, device__off_current="uncorrected",
              mapping__row_order="position"),
        noisy(INPUT_NOISE, READ_NOISE, device__bits=4, mapping__slices="separate"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layer", [0, 1])
def test_a_layer_reads_what_one_read_after_the_other_gives(chip: Chip, layer: int) -> None:
    mapping = map_network(max_pool_network(seed=3), chip)
    assert needs_general_reads(mapping)
    placed = mapping.layers[layer]
    shape = tuple(n + 2 * placed.layer.padding for n in placed.layer.input_shape[1:])
    low, high = placed.layer.input_min, placed.layer.input_max
    inputs = np.random.default_rng(layer).integers(
        low, high + 1, (*shape, placed.layer.input_shape[0])
    ).astype(np.int8)  # fmt: skip
    when = (2**31 + 7, 3)
    found = fine_sums(mapping, placed, inputs, when)
    slow = slow_sums(mapping, placed, inputs, when)
    # Every code is cut off by up to 1/4096 level, and is worth factor · 2^bit.
    reads = 3 * -(-placed.rows // placed.rows_per_read)
    factors = sum(abs(plane.factor) for plane in mapping.slicing.planes)
    bound = reads * (1 << placed.layer.input_bits) * factors / FINE
    np.testing.assert_allclose(found, slow, atol=bound, rtol=1e-5)
    quiet_chip = load({**OVERRIDES, "device.nonidealities": []})
    quiet = slow_sums(map_network(max_pool_network(seed=3), quiet_chip), placed, inputs, when)
    assert np.abs(slow - quiet).max() > 20 * bound


# Whole batches


INPUTS = np.random.default_rng(8).integers(0, 2, (60, 1)).astype(bool)


def classifier_sums(images: int, timesteps: int = 1, seed: int = 0, **keys: Any) -> Array:
    """(n, t, 20) logits of equal images on one layer whose converters lose nothing."""
    said = {"mapping.signed_weights": "offset", "device.bits": 4, "adc.bits": 12}
    chip = noisy(READ_NOISE, **{**{k.replace(".", "__"): v for k, v in said.items()}, **keys})
    network = replace(spiking_network(60), timesteps=timesteps)
    mapping = map_network(network, chip)
    model = build_model(mapping, seed, uniform_steps(mapping, 1))
    inputs = np.broadcast_to(INPUTS.astype(np.uint8).reshape(1, 60, 1, 1), (images, 60, 1, 1))
    return run_batch(model, inputs, timesteps).logits


@pytest.mark.needs_jit
def test_read_noise_of_a_run_has_the_variance_of_its_active_cells() -> None:
    count = 1500
    chip = noisy(READ_NOISE, mapping__signed_weights="offset", device__bits=4)
    mapping = map_network(spiking_network(60), chip)
    placed = mapping.layers[0]
    conductance = full_conductance(mapping, placed, program(mapping, placed, 0))
    factors = np.array([plane.factor for plane in mapping.slicing.planes])
    weighted = (0.03 * factors[:, None] * conductance[INPUTS[:, 0]]) ** 2
    # Codes of 1/16 level and whole accumulators: two steps of rounding.
    rounding = 4 * (factors**2).sum() / 12 / 256 + 1 / 12
    variance = weighted.sum(axis=(0, 1)) + rounding
    sums = classifier_sums(count)[:, 0].astype(float)
    exact_sums = classifier_sums(1, device__nonidealities=[])[0, 0]
    off = (sums.mean(axis=0) - exact_sums) / variance**0.5
    np.testing.assert_allclose(off, 0, atol=5 / count**0.5)
    np.testing.assert_allclose(sums.var(axis=0) / variance, 1, atol=5 * (2 / count) ** 0.5)
    correlation = np.corrcoef(sums.T) - np.eye(20)
    assert np.abs(correlation).max() < 5 / count**0.5


@pytest.mark.needs_jit
def test_reads_timesteps_and_chips_are_drawn_anew() -> None:
    found = classifier_sums(400, timesteps=2)
    other = classifier_sums(400, seed=1)
    for first, second in (
        (found[:, 0], found[:, 1]), (found[:, 0], other[:, 0]), (found[1:, 0], found[:-1, 0]),
    ):  # fmt: skip
        pairs = (part - part.mean(axis=0) for part in (first, second))
        assert abs(np.corrcoef(*(part.ravel() for part in pairs))[0, 1]) < 5 / first.size**0.5


@pytest.mark.needs_jit
def test_a_batch_is_the_sum_of_its_images_and_exits_move_no_draw() -> None:
    network = max_pool_network(seed=2)
    images = random_images(network, 5)
    mapping = map_network(network, noisy(READ_NOISE, INPUT_NOISE, PROGRAMMED))
    model = build_model(mapping, 0, uniform_steps(mapping, 24))
    whole = run_batch(model, images, 3)
    parts = [run_batch(model, images[i : i + 1], 3, first_image=i) for i in range(5)]
    assert_equal(whole, parts)
    left = run_batch(model, images, 3, stop=lambda _, places: places == 0)
    np.testing.assert_array_equal(left.logits[1:], whole.logits[1:])
    moved = run_batch(model, images, 3, first_image=1)
    assert (moved.logits != whole.logits).any()


def assert_equal(whole: FunctionalResult, parts: list[FunctionalResult]) -> None:
    for name in ("logits", "measured_step", "spikes"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole, name), joined)


@pytest.mark.parametrize("entry", [READ_NOISE, FLAT_NOISE, INPUT_NOISE])
def test_noise_of_no_strength_is_none_at_all(entry: dict[str, Any]) -> None:
    network = max_pool_network(seed=2)
    images = random_images(network, 3)
    results = []
    for entries in ([], [entry | {"sigma": 0.0}]):
        mapping = map_network(network, noisy(*entries))
        assert not needs_general_reads(mapping)
        model = build_model(mapping, 0, uniform_steps(mapping, 24))
        assert model.is_steady(0)
        results.append(run_batch(model, images, 3))
    assert_equal(results[0], results[1:])


def test_currents_of_a_static_image_are_kept_where_the_dataflow_keeps_them() -> None:
    network = max_pool_network(seed=2)
    images = random_images(network, 2)
    for first_layer, anew in (("every_timestep", True), ("once", False)):
        chip = noisy(READ_NOISE, dataflow__first_layer=first_layer)
        mapping = map_network(network, chip)
        seen: list[int] = []
        model = build_model(mapping, 0, uniform_steps(mapping, 24))
        run_batch(model, images, 3, observer=_Inputs(seen))
        assert (seen.count(0) == 3) is anew
        assert not model.is_steady(0)


class _Inputs:
    """Notes which layers are read."""

    def __init__(self, seen: list[int]):
        self.seen = seen

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        self.seen.append(placed.index)

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        pass


def test_the_ideal_copy_of_a_noisy_chip_is_exact() -> None:
    network = max_pool_network(seed=2)
    images = random_images(network, 2)
    model = ideal_model(map_network(network, noisy(READ_NOISE, INPUT_NOISE, PROGRAMMED)))
    expected = run_reference(network, images).logits
    np.testing.assert_array_equal(run_batch(model, images, network.timesteps).logits, expected)


@pytest.mark.parametrize(
    ("timestep", "reads", "lines"), [(0, 2**15 + 1, 8), (0, 1, 2**20 + 1), (2**12, 1, 8)]
)
def test_reads_without_an_address_of_their_own_are_refused(
    timestep: int, reads: int, lines: int
) -> None:
    with pytest.raises(MappingError, match=r"32,768 reads of a window, 1,048,576 lines and 4,096"):
        Fluctuations(0, 3, cell_sigma=0.1).normals(
            ReadKind.COLUMN, 0, timestep, 0, (1, 1, reads, lines)
        )
