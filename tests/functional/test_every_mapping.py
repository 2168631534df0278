"""An ideal chip is exact whatever its mapping, precision and size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.forward import build_model, ideal_model, run_batch
from imcsim.functional.verify import verify
from imcsim.mapping import Mapping, map_network
from imcsim.network.layers import Network
from imcsim.network.reference import run_reference
from tests.mapping.chips import exact
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_images

CODINGS: list[dict[str, Any]] = [
    {"mapping.signed_weights": "offset"},
    {"mapping.signed_weights": "offset_column"},
    {"mapping.signed_weights": "differential"},
    {"mapping.signed_weights": "differential", "mapping.subtract": "analog"},
]
LARGE = {"chip.mesh_columns": 64, "chip.mesh_rows": 64}


@st.composite
def chips(draw: st.DrawFn) -> dict[str, Any]:
    """Any combination of the keys that say where and how weights are stored and read."""
    rows = draw(st.sampled_from([16, 17, 33, 64, 128, 512]))
    overrides: dict[str, Any] = {
        "crossbar.rows": rows,
        "crossbar.cols": draw(st.sampled_from([16, 30, 64, 512])),
        "device.bits": draw(st.integers(1, 8)),
        "mapping.weight_bits": draw(st.integers(2, 8)),
        "mapping.slices": draw(st.sampled_from(["adjacent", "separate"])),
        "mapping.row_order": draw(st.sampled_from(["channel", "flat", "position"])),
    }
    driven = draw(st.none() | st.integers(1, rows))
    if driven is not None:
        overrides["crossbar.rows_per_read"] = driven
    return overrides | draw(st.sampled_from(CODINGS)) | LARGE


def with_weight_bits(network: Network, bits: int) -> Network:
    """The same network with its weights scaled down to `bits` bits."""
    layers = [
        layer if layer.weight is None
        else replace(layer, weight=(layer.weight.astype(int) >> (8 - bits)).clip(
            1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1).astype(np.int8))
        for layer in network.layers
    ]  # fmt: skip
    return replace(network, layers=tuple(layers))


def sparse_images(network: Network, n: int, density: float) -> np.ndarray:
    """Random images, all but a share of the pixels at the value that enters as (nearly) nothing."""
    images = random_images(network, n)
    nothing = int(np.abs(network.input_table[0].astype(int)).argmin())
    kept = np.random.default_rng(5).random(images.shape) < density
    return np.where(kept, images, nothing).astype(np.uint8)


def assert_exact(mapping: Mapping, images: np.ndarray, ideal: bool = True) -> None:
    network = mapping.network
    expected = run_reference(network, images)
    if ideal:
        model = ideal_model(mapping)
    else:
        model = build_model(mapping, 0, calibrated_steps(mapping, images, 1))
    found = run_batch(model, images, network.timesteps)
    np.testing.assert_array_equal(found.logits, expected.logits)


@pytest.mark.needs_jit
@settings(max_examples=60)
@given(
    overrides=chips(),
    name=st.sampled_from(sorted(SMALL_NETWORKS)),
    seed=st.integers(0, 1000),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_an_ideal_chip_equals_the_reference(
    overrides: dict[str, Any], name: str, seed: int, density: float
) -> None:
    network = with_weight_bits(SMALL_NETWORKS[name](seed=seed), overrides["mapping.weight_bits"])
    mapping = map_network(network, exact(overrides))
    assert_exact(mapping, sparse_images(network, 2, density))


@pytest.mark.needs_jit
@settings(max_examples=40)
@given(overrides=chips(), seed=st.integers(0, 1000), adc_bits=st.integers(6, 12))
def test_real_converters_with_enough_codes_lose_nothing_either(
    overrides: dict[str, Any], seed: int, adc_bits: int
) -> None:
    reach = (1 << (adc_bits - (overrides.get("mapping.subtract") == "analog"))) - 1
    driven = max(reach // ((1 << overrides["device.bits"]) - 1), 1)
    if (1 << overrides["device.bits"]) - 1 > reach:
        return
    overrides |= {
        "adc.bits": adc_bits,
        "adc.range": "lossless",
        "crossbar.rows_per_read": min(driven, overrides["crossbar.rows"]),
    }
    network = with_weight_bits(max_pool_network(seed=seed), overrides["mapping.weight_bits"])
    mapping = map_network(network, exact(overrides))
    assert_exact(mapping, random_images(network, 2), ideal=False)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("row_order", ["channel", "flat", "position"])
def test_verification_knows_every_mapping(coding: dict[str, Any], row_order: str) -> None:
    network = max_pool_network(seed=8)
    images = random_images(network, 2)
    golden = run_reference(network, images).logits.astype(np.int32)
    chip = exact({"mapping.row_order": row_order, "device.off_current": "digital"} | coding)
    assert verify(map_network(network, chip), images, golden).images == 2
