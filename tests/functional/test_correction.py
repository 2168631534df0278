from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.functional.adc import lossless_steps
from imcsim.functional.correction import (
    ChannelFit,
    Moments,
    correct_channels,
    fit_channels,
    fold,
    observe_channels,
)
from imcsim.functional.forward import ChipModel, build_model, ideal_model, run_batch
from imcsim.mapping import map_network
from imcsim.network.layers import IMAGE, Layer, Network, Neuron
from imcsim.network.reference import accumulate, lif, run_reference
from tests.mapping.chips import rram64
from tests.small_networks import (
    SMALL_NETWORKS,
    avg_pool_network,
    linear_network,
    max_pool_network,
    random_images,
    residual_network,
)

SUMMING = Neuron(leak_multiplier=1, leak_shift=0, reset="soft", fraction_bits=2, membrane_bits=32)
"""Without leak and in wide membranes, a scaled neuron is the same neuron exactly."""
Values = npt.NDArray[np.int64]


def with_weights(network: Network, weights: dict[int, npt.NDArray[Any]]) -> Network:
    layers = [
        replace(layer, weight=np.asarray(weights[i]).astype(np.int8)) if i in weights else layer
        for i, layer in enumerate(network.layers)
    ]
    return replace(network, layers=tuple(layers))


def chip_with(network: Network, weights: dict[int, npt.NDArray[Any]]) -> ChipModel:
    """A chip for `network` whose exact cells hold other weights."""
    chip = rram64({"lif.membrane_bits": 32})
    held = ideal_model(map_network(with_weights(network, weights), chip))
    return ChipModel(map_network(network, chip), held.cells, held.adc)


def damaged(network: Network, seed: int) -> dict[int, npt.NDArray[Any]]:
    """All weights of the network with 30 % of error."""
    rng = np.random.default_rng(seed)
    found = {}
    for i in network.weight_layers:
        weight = network.layers[i].weight
        assert weight is not None
        noisy = weight * (1 + 0.3 * rng.standard_normal(weight.shape))
        found[i] = np.clip(np.rint(noisy), -127, 127)
    return found


def pairs_of(network: Network, weights: dict[int, Any], images: Any) -> dict[int, Any]:
    """Exact and wrong currents of each layer with neurons and of the classifier, by the numpy
    reference: int (windows, c) each."""
    run = run_reference(network, images, record=True)
    assert run.outputs is not None and run.accumulators is not None
    encoded = network.encode(images).astype(np.int64)
    steps = network.timesteps
    frames = encoded if network.encoding == "events" else np.stack([encoded] * steps, axis=1)
    bent, right, wrong = with_weights(network, weights), {}, {}
    for i in network.weight_layers:
        source = network.layers[i].source
        x = (frames if source == IMAGE else run.outputs[source]).astype(np.int64)
        wrong[i] = np.stack([accumulate(bent.layers[i], x[:, t]) for t in range(steps)], axis=1)
        right[i] = np.asarray(run.accumulators[i], np.int64)
    pairs = {}
    for i in network.weight_layers:
        layer = network.layers[i]
        if not layer.spikes and i != len(network.layers) - 1:
            continue
        ours, theirs = right[i], wrong[i]
        if layer.residual is not None and network.layers[layer.residual].sends_sums:
            ours, theirs = ours + right[layer.residual], theirs + wrong[layer.residual]
        pairs[i] = tuple(np.moveaxis(a, 2, -1).reshape(-1, a.shape[2]) for a in (ours, theirs))
    return pairs


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_an_ideal_chip_has_gain_one_and_no_offset_exactly(name: str, signed_weights: str) -> None:
    network = SMALL_NETWORKS[name](seed=30)
    mapping = map_network(network, rram64({"mapping.signed_weights": signed_weights}))
    chip, images = ideal_model(mapping), random_images(network, 5)
    moments = observe_channels(chip, images, network.timesteps)
    fits = [fit for seen in moments.values() for fit in fit_channels(seen)]
    assert fits
    assert all(fit.gain == 1 and fit.offset == fit.mean_error == 0 for fit in fits)
    corrected, report = correct_channels(chip, moments)
    assert (report.clipped, report.gain_mean, report.gain_std) == (0, 1, 0)
    for before, after in zip(network.layers, corrected.mapping.network.layers, strict=True):
        for register in ("threshold", "bias", "residual_current"):
            one, other = getattr(before, register), getattr(after, register)
            np.testing.assert_array_equal(one, other)
            assert one is None or one.dtype == other.dtype
    before_run, after_run = (run_batch(m, images, network.timesteps) for m in (chip, corrected))
    np.testing.assert_array_equal(before_run.logits, after_run.logits)
    np.testing.assert_array_equal(before_run.spikes, after_run.spikes)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_fits_are_the_regression_of_the_currents_that_the_reference_sees(name: str) -> None:
    network = SMALL_NETWORKS[name](seed=31)
    weights, images = damaged(network, 31), random_images(network, 6)
    moments = observe_channels(chip_with(network, weights), images, network.timesteps)
    pairs = pairs_of(network, weights, images)
    assert {i for i, seen in moments.items() if fit_channels(seen)} == set(pairs)
    checked = 0
    for i, (exact, wrong) in pairs.items():
        for c, fit in enumerate(fit_channels(moments[i])):
            assert float(fit.mean_error) == pytest.approx((wrong - exact)[:, c].mean(), rel=1e-9)
            if not fit.is_usable:
                continue
            slope, intercept = np.polyfit(exact[:, c], wrong[:, c], 1)
            assert float(fit.gain) == pytest.approx(slope, rel=1e-9)
            assert float(fit.offset) == pytest.approx(intercept, rel=1e-9, abs=1e-6)
            checked += 1
    assert checked > len(pairs)


@pytest.mark.parametrize("build", [max_pool_network, avg_pool_network, linear_network])
def test_channels_that_are_twice_too_strong_are_repaired_exactly(build: Any) -> None:
    network = build(seed=32, neuron=SUMMING)
    halves = {}
    doubled = {}
    for i in network.weight_layers[:-1]:
        halves[i] = network.layers[i].weight // 2
        gain = np.ones(len(halves[i]), np.int64)
        gain[::2] = 2
        doubled[i] = halves[i] * gain.reshape(-1, *[1] * (halves[i].ndim - 1))
    right = with_weights(network, halves)
    chip, images = chip_with(right, doubled), random_images(right, 6)
    moments = observe_channels(chip, images, right.timesteps)
    corrected, report = correct_channels(chip, moments)
    assert report.gain_mean > 1.3
    expected = run_reference(right, images)
    assert expected.saturations.sum() == 0
    spoilt = run_batch(chip, images, right.timesteps).logits
    assert not np.array_equal(spoilt, expected.logits)
    np.testing.assert_array_equal(
        run_batch(corrected, images, right.timesteps).logits, expected.logits
    )


@given(
    gains=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    offsets=st.lists(st.integers(-300, 300), min_size=3, max_size=3),
    reset=st.sampled_from(["soft", "hard"]),
    seed=st.integers(0, 1 << 30),
)
def test_a_neuron_with_gain_and_offset_fires_as_it_should(
    gains: list[int], offsets: list[int], reset: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer, network = neurons(rng, replace(SUMMING, reset=reset))
    fits = [
        ChannelFit(Fraction(g), Fraction(o), Fraction(0), True)
        for g, o in zip(gains, offsets, strict=True)
    ]
    folded, clipped = fold(layer, fits, network)
    assert clipped == 0
    gain, offset = (np.array(v)[:, None, None] for v in (gains, offsets))
    one, other = np.zeros((2, 1, 3, 4, 4), np.int64)
    for _ in range(4):
        acc, residual = rng.integers(-400, 500, one.shape), rng.integers(0, 2, one.shape)
        one, right, _ = lif(
            one, current(layer, network, acc, residual), layer.threshold, network.neuron
        )
        found = current(folded, network, gain * acc + offset, residual)
        other, fired, _ = lif(other, found, folded.threshold, network.neuron)
        np.testing.assert_array_equal(fired, right)
        np.testing.assert_array_equal(other, gain * one)


def neurons(rng: np.random.Generator, neuron: Neuron) -> tuple[Layer, Network]:
    """A layer of three channels with random registers, and a network with its neuron."""
    network = residual_network(neuron=neuron)
    layer = replace(
        network.layers[2],
        threshold=rng.integers(1, 3000, 3).astype(np.int32),
        bias=rng.integers(-500, 500, 3).astype(np.int32),
        residual_current=rng.integers(0, 900, 3).astype(np.int32),
    )
    return layer, network


def current(layer: Layer, network: Network, acc: Values, residual: Values) -> Values:
    assert layer.bias is not None and layer.residual_current is not None
    bias, identity = (
        v.astype(np.int64)[:, None, None] for v in (layer.bias, layer.residual_current)
    )
    return (acc << network.neuron.fraction_bits) + bias + identity * residual


def fits(*values: tuple[float, float]) -> list[ChannelFit]:
    return [ChannelFit(Fraction(g), Fraction(o), Fraction(o), True) for g, o in values]


def test_registers_round_once_to_the_nearest_number() -> None:
    layer, network = neurons(np.random.default_rng(0), replace(SUMMING, fraction_bits=1))
    layer = replace(
        layer,
        threshold=np.array([100, 100, 100], np.int32),
        bias=np.array([3, 3, 3], np.int32),
        residual_current=np.array([10, 10, 10], np.int32),
    )
    folded, _ = fold(layer, fits((1.004, 0.0), (1.006, 0.2), (0.5, -3.3)), network)
    assert folded.threshold is not None and folded.bias is not None
    assert folded.threshold.tolist() == [100, 101, 50]
    # 3.012; 3.018 − 0.4; 1.5 + 6.6
    assert folded.bias.tolist() == [3, 3, 8]
    assert folded.residual_current is not None
    assert folded.residual_current.tolist() == [10, 10, 5]


def test_registers_stay_within_the_membrane_and_what_is_held_is_counted() -> None:
    narrow = replace(SUMMING, membrane_bits=12)
    layer, network = neurons(np.random.default_rng(0), narrow)
    layer = replace(
        layer,
        threshold=np.array([1000, 1, 100], np.int32),
        bias=np.array([0, 0, 0], np.int32),
        residual_current=np.array([0, 0, 1500], np.int32),
    )
    folded, clipped = fold(layer, fits((3.0, 0), (0.25, 600), (2.0, -600)), network)
    assert folded.threshold is not None and folded.bias is not None
    assert folded.threshold.tolist() == [2046, 1, 200]
    assert folded.bias.tolist() == [0, -2048, 2047]
    assert folded.residual_current is not None
    assert folded.residual_current.tolist() == [0, 0, 2047]
    assert clipped == 5


def test_a_bias_that_was_wider_than_the_membrane_is_kept() -> None:
    narrow = replace(SUMMING, membrane_bits=8)
    layer, network = neurons(np.random.default_rng(0), narrow)
    layer = replace(
        layer, bias=np.array([500, -600, 0], np.int32), threshold=np.full(3, 100, np.int32)
    )
    folded, clipped = fold(layer, fits((1, 0), (1, 0), (1, 0)), network)
    np.testing.assert_array_equal(folded.bias, layer.bias)
    assert clipped == 0


def test_a_class_loses_its_mean_error_and_keeps_its_gain() -> None:
    network = max_pool_network(seed=33)
    weights, images = damaged(network, 33), random_images(network, 8)
    chip = chip_with(network, weights)
    corrected, _ = correct_channels(chip, observe_channels(chip, images, network.timesteps))
    exact, wrong = pairs_of(network, weights, images)[len(network.layers) - 1]
    before, after = network.layers[-1].bias, corrected.mapping.network.layers[-1].bias
    assert before is not None and after is not None
    np.testing.assert_array_equal(before - after, np.rint((wrong - exact).mean(axis=0)))
    assert (before != after).any()


@given(
    values=st.lists(
        st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 31), (1 << 31) - 1)),
        min_size=1, max_size=30,
    ),
    cut=st.integers(0, 30),
)  # fmt: skip
def test_sums_are_exact_however_large_and_however_windows_are_grouped(
    values: list[tuple[int, int]], cut: int
) -> None:
    x, y = (np.array(v, np.int32)[:, None] for v in zip(*values, strict=True))
    whole, parts, rest = Moments(), Moments(), Moments()
    whole.add(x, y)
    for moments, part in ((parts, slice(cut)), (rest, slice(cut, None))):
        if len(x[part]):
            moments.add(x[part], y[part])
    rest.join(parts)
    expected = [
        sum(a for a, _ in values),
        sum(b for _, b in values),
        sum(a * a for a, _ in values),
        sum(a * b for a, b in values),
    ]
    for found in (whole, rest):
        assert found.sums is not None
        assert found.sums[:, 0].tolist() == expected
        assert found.windows == len(values)


@pytest.mark.parametrize(
    ("exact", "found"), [([3, 3, 3], [1, 2, 3]), ([1, 2, 3], [3, 2, 1]), ([1, 2, 3], [5, 5, 5])]
)
def test_a_channel_without_a_rising_line_is_left_alone(exact: list[int], found: list[int]) -> None:
    moments = Moments()
    moments.add(np.array(exact)[:, None], np.array(found)[:, None])
    (fit,) = fit_channels(moments)
    assert not fit.is_usable
    assert fit.gain == 1
    assert fit.offset == 0
    assert fit.mean_error == Fraction(sum(found) - sum(exact), 3)


def test_noise_of_single_reads_averages_out() -> None:
    network = max_pool_network(seed=37)
    converters: dict[str, Any] = {
        "adc.noise_sigma_levels": 1.0,
        "adc.range": "lossless",
        "adc.bits": 12,
    }
    mapping = map_network(network, rram64(converters | {"device.variation": 0.0}))
    chip = build_model(mapping, 5, lossless_steps(mapping))
    moments = observe_channels(chip, random_images(network, 12), network.timesteps)
    fits = fit_channels(moments[2])  # one input bit, so no bit's noise counts 128 times
    assert all(fit.gain != 1 for fit in fits)
    assert all(float(fit.gain) == pytest.approx(1, abs=0.05) for fit in fits)


def test_channels_left_alone_are_counted() -> None:
    network = linear_network(seed=34)
    weights = {0: np.array(network.layers[0].weight)}
    weights[0][2] *= -1
    weights[0][5] = 0
    chip = chip_with(network, weights)
    moments = observe_channels(chip, random_images(network, 6), network.timesteps)
    corrected, report = correct_channels(chip, moments)
    assert (report.channels, report.left_alone) == (9 + 3, 2)
    before, after = network.layers[0], corrected.mapping.network.layers[0]
    assert before.threshold is not None and after.threshold is not None
    np.testing.assert_array_equal(after.threshold, before.threshold)


def test_without_images_nothing_is_corrected() -> None:
    network = linear_network(seed=35)
    chip = chip_with(network, damaged(network, 35))
    moments = observe_channels(chip, random_images(network, 3)[:0], network.timesteps)
    corrected, report = correct_channels(chip, moments)
    assert corrected.mapping.network.layers == network.layers
    assert (report.channels, report.gain_mean) == (0, 1)


@pytest.mark.needs_jit
def test_neither_workers_nor_the_order_of_images_change_a_sum() -> None:
    network = residual_network(seed=36)
    chip, images = chip_with(network, damaged(network, 36)), random_images(network, 40)
    one = observe_channels(chip, images, network.timesteps)
    for other in (
        observe_channels(chip, images, network.timesteps, jobs=3),
        observe_channels(chip, images[::-1], network.timesteps),
    ):
        for i, seen in one.items():
            assert seen.windows == other[i].windows
            # Shortcut convolutions have no sums of their own.
            np.testing.assert_array_equal(seen.sums, other[i].sums)
