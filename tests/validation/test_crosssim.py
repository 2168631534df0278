"""CrossSim's outputs, bit for bit, from architecture files alone (data/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import imcsim
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.forward import build_model, run_batch
from imcsim.mapping import LayerMapping, map_network
from imcsim.network.build import LayerSpec, build_network, derive_layers, expected_arrays
from imcsim.network.layers import Network
from tests.chip.files import ARCH
from tests.small_networks import HALF, conv, linear, pool

Array = npt.NDArray[Any]

pytestmark = pytest.mark.needs_jit


@pytest.fixture(scope="module")
def crosssim() -> dict[str, Array]:
    with np.load(Path(__file__).with_name("data") / "crosssim.npz") as data:
        return dict(data)


class _Outputs:
    """Keeps what one layer hands on, (n, c, h, w)."""

    def __init__(self, layer: int):
        self.layer = layer
        self.found: Array = np.empty(0)

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        pass

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        if layer == self.layer:
            self.found = output.transpose(0, 3, 1, 2).copy()


def network_around(
    specs: list[LayerSpec], image: tuple[int, int, int], layer: int, weight: Array
) -> Network:
    """A network of ones (and inputs as they are) but for the weights of one layer."""
    table = np.broadcast_to(np.minimum(np.arange(256), 1), (image[0], 256)).astype(np.int8)
    layers = derive_layers(image, (0, 1), specs)
    arrays = {
        key: np.zeros(shape, dtype) if "bias" in key else np.ones(shape, dtype)
        for key, (dtype, shape) in expected_arrays(layers).items()
    }
    arrays[f"L{layer}.weight"] = weight
    return build_network(
        name="crosssim", image_shape=image, classes=layers[-1].output_shape[0], timesteps=1,
        encoding="direct", neuron=HALF, input_table=table, logit_scale=1.0, specs=specs,
        arrays=arrays,
    )  # fmt: skip


def convolved(weight: Array, images: Array, chip: imcsim.Chip, window: int = 1) -> Array:
    """Sums of a 3×3 convolution with padding 1; images are counted over `window`² pixels first."""
    specs = [pool("count", -1, "avg_pool", window)] if window > 1 else []
    first, channels = len(specs), len(weight)
    specs += [
        # Sums appear as they are in a layer without neurons, which another one has to add.
        conv("sums", first - 1, channels, spikes=False),
        conv("neurons", first - 1, channels, residual=first),
        linear("classes", first + 1, 2),
    ]
    shape = (images.shape[1], images.shape[2], images.shape[3])
    return run_layer(network_around(specs, shape, first, weight), images, chip, first)


def run_layer(network: Network, images: Array, chip: imcsim.Chip, layer: int) -> Array:
    mapping = map_network(network, chip)
    model = build_model(mapping, 0, calibrated_steps(mapping, images, 1))
    outputs = _Outputs(layer)
    run_batch(model, images, 1, outputs)
    return outputs.found


def chip_with(folder: Path, **sections: str) -> imcsim.Chip:
    """Table I's chip with exact cells and 6-bit converters, and what `sections` say."""
    said = {"adc": "", "device": "", "mapping": "", **sections}
    file = folder / "chip.yaml"
    file.write_text(
        f"format: imcsim-arch/1\nextends: {ARCH / 'rram64.yaml'}\nname: as CrossSim\n"
        f"device: {{variation: 0.0, {said['device']}}}\n"
        f"adc: {{bits: 6, range: fixed, {said['adc']}}}\n"
        f"mapping: {{{said['mapping']}}}\n"
        "lif: {membrane_memory_bytes: 10000000}\n"
    )
    return imcsim.load_chip(file)


@pytest.mark.parametrize(
    ("images", "expected", "sections"),
    [
        ("x", "channel_step3", {"adc": "step_levels: 3.0"}),
        ("x_dense", "dense_step3", {"adc": "step_levels: 3.0"}),
        ("x", "flat_step5", {"adc": "step_levels: 5.0", "mapping": "row_order: flat"}),
        ("x", "balanced_step3",
         {"adc": "step_levels: 3.0", "mapping": "signed_weights: differential, subtract: analog"}),
        # 128 channels fill two crossbars: a kernel position never shares one.
        ("x", "channel_step3", {"adc": "step_levels: 3.0", "mapping": "row_order: position"}),
        ("x", "channel_step3", {"adc": "step_levels: 3.0", "mapping": "slices: separate"}),
    ],
)  # fmt: skip
def test_a_convolution_equals_crosssim(
    tmp_path: Path,
    crosssim: dict[str, Array],
    images: str,
    expected: str,
    sections: dict[str, str],
) -> None:
    found = convolved(crosssim["w"], crosssim[images], chip_with(tmp_path, **sections))
    np.testing.assert_array_equal(found, crosssim[expected])


def test_the_current_of_r_off_in_the_converters_equals_crosssim(
    tmp_path: Path, crosssim: dict[str, Array]
) -> None:
    chip = chip_with(
        tmp_path, adc="step_levels: 5.0", device="on_off_ratio: 10.0, off_current: digital"
    )
    found = convolved(crosssim["w"], crosssim["x"], chip)
    # The chip's sums are whole numbers; a third is nobody's half.
    expected = np.rint(crosssim["onoff10_step5_thirds"] / 3)
    np.testing.assert_array_equal(found, expected.astype(int))


def test_a_last_crossbar_that_is_not_full_equals_crosssim(
    tmp_path: Path, crosssim: dict[str, Array]
) -> None:
    network = network_around([linear("fc", -1, 71)], (151, 1, 1), 0, crosssim["partial_w"])
    images = np.ascontiguousarray(crosssim["partial_x"].T[:, :, None, None])
    found = run_layer(network, images, chip_with(tmp_path, adc="step_levels: 3.0"), 0)
    np.testing.assert_array_equal(found[:, :, 0, 0].T, crosssim["partial_step3"])


def test_eight_serial_input_bits_equal_crosssim(tmp_path: Path, crosssim: dict[str, Array]) -> None:
    # An image of ones and zeros whose 16×16 average pool counts what CrossSim takes as inputs.
    values = crosssim["serial_x"]
    ones = np.arange(256).reshape(16, 16) < values[..., None, None]
    images = ones.transpose(0, 1, 2, 4, 3, 5).reshape(1, 3, 8 * 16, 8 * 16).astype(np.uint8)
    chip = chip_with(tmp_path, adc="step_levels: 5.0")
    found = convolved(crosssim["serial_w"], images, chip, window=16)
    np.testing.assert_array_equal(found, crosssim["serial_step5"])


def test_a_reference_column_equals_crosssims_arithmetic(
    tmp_path: Path, crosssim: dict[str, Array]
) -> None:
    """A column with the slices of 128 is digitised like the others and subtracted from them."""
    weight, images = crosssim["w"][:32], crosssim["x_dense"]
    chip = chip_with(tmp_path, adc="step_levels: 3.0", mapping="signed_weights: offset_column")
    stored = weight.astype(int) + 128
    slices = {1: stored & 15, 16: stored >> 4}
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(int)
    expected = np.zeros((2, 32, 8, 8), int)
    for ky, kx, half in np.ndindex(3, 3, 2):
        channels = slice(64 * half, 64 * half + 64)
        fed = padded[:, channels, ky : ky + 8, kx : kx + 8]
        for factor, level in slices.items():
            sums = np.einsum("nchw,oc->nohw", fed, level[:, channels, ky, kx])
            reference = fed.sum(axis=1, keepdims=True) * (128 // factor & 15)
            code, subtracted = (np.minimum((2 * s + 3) // 6, 63) for s in (sums, reference))
            expected += 3 * factor * (code - subtracted)
    found = convolved(weight, images, chip)
    np.testing.assert_array_equal(found, expected)
