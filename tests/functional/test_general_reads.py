"""R_off in the converters, given conductances and faulty converters, on whole layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imcsim.chip import Chip, load_chip
from imcsim.errors import ArchError, ConfigError, MappingError, UsageError
from imcsim.functional.adc import draw_errors, lossless_steps, uniform_steps
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.forward import FunctionalResult, build_model, run_batch
from imcsim.functional.general_reads import needs_general_reads
from imcsim.mapping import Mapping, map_network, slice_weights
from imcsim.network.layers import Network
from imcsim.network.npz import write_npz
from tests.chip.files import ARCH
from tests.mapping.chips import exact, rram64
from tests.small_networks import linear, max_pool_network, random_images, random_network

Array = npt.NDArray[Any]
ROWS, OUTPUTS, IMAGES = 150, 20, 40


def spiking_network(rows: int = ROWS, outputs: int = OUTPUTS) -> Network:
    """One matrix that binary images go through, without bias."""
    network = random_network([linear("fc", -1, outputs)], (rows, 1, 1), signed_image=False)
    table = np.broadcast_to(np.minimum(np.arange(256), 1), (rows, 256)).astype(np.int8)
    layer = replace(network.layers[0], input_min=0, input_max=1, bias=np.zeros(outputs, np.int32))
    return replace(network, input_table=table, layers=(layer,), timesteps=1)


@pytest.fixture(scope="module")
def inputs() -> Array:
    return np.random.default_rng(3).integers(0, 2, (IMAGES, ROWS, 1, 1)).astype(np.uint8)


def logits(chip: Chip, inputs: Array, step: int = 48, seed: int = 0) -> Array:
    mapping = map_network(spiking_network(inputs.shape[1]), chip)
    model = build_model(mapping, seed, uniform_steps(mapping, step))
    return run_batch(model, inputs, 1).logits[:, 0]


def fast(results: FunctionalResult) -> list[Array]:
    return [results.logits, results.measured_step, results.measured_once, results.spikes]


def test_the_general_and_the_fast_kernels_agree_where_both_can_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = max_pool_network(seed=4)
    images = random_images(network, 3)
    for overrides in (
        {"device.variation": 0.2, "adc.bits": 5, "crossbar.rows": 16},
        {"device.variation": 0.2, "device.variation_model": "device", "adc.bits": 6},
        {"mapping.signed_weights": "differential", "adc.bits": 4, "mapping.slices": "separate"},
    ):
        mapping = map_network(network, rram64(overrides))
        steps = calibrated_steps(mapping, images, 3)
        assert not needs_general_reads(mapping)
        plain = run_batch(build_model(mapping, 7, steps), images, 3)
        with monkeypatch.context() as patched:
            patched.setattr("imcsim.functional.forward.needs_general_reads", lambda _: True)
            general = run_batch(build_model(mapping, 7, steps), images, 3)
        for found, expected in zip(fast(general), fast(plain), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "overrides",
    [
        {"crossbar.rows_per_read": 63},
        {"mapping.row_order": "flat"},
        {"mapping.row_order": "position"},
        {"mapping.signed_weights": "offset_column"},
        {"mapping.signed_weights": "differential", "mapping.subtract": "analog"},
        {"adc.rounding": "down"},
        {"adc.offset_sigma_levels": 0.5},
        {"adc.gain_sigma": 0.01},
        {"adc.noise_sigma_levels": 0.1},
        {"device.off_current": "digital"},
        {"device.off_current": "uncorrected"},
    ],
)
def test_what_the_fast_kernels_cannot_do_is_read_by_the_general_one(
    overrides: dict[str, Any],
) -> None:
    assert needs_general_reads(map_network(max_pool_network(), rram64(overrides)))


def test_reading_all_rows_at_once_may_be_said() -> None:
    assert not needs_general_reads(
        map_network(max_pool_network(), rram64({"crossbar.rows_per_read": 64}))
    )


# R_off


def block_sums(inputs: Array, chip: Chip, levels: Array) -> Array:
    """(n, blocks, planes, outputs): sums of levels (rows, planes, outputs) by row block."""
    fed = inputs.reshape(len(inputs), -1).astype(float)
    tops = range(0, ROWS, chip.crossbar.rows)
    return np.stack(
        [np.einsum("nr,rqo->nqo", fed[:, t : t + chip.crossbar.rows],
                   levels[t : t + chip.crossbar.rows]) for t in tops],
        axis=1,
    )  # fmt: skip


@pytest.mark.parametrize("off_current", ["digital", "uncorrected"])
@pytest.mark.parametrize("signed_weights", ["offset", "offset_column", "differential"])
def test_the_current_of_r_off_enters_the_codes_and_its_nominal_value_leaves_the_sum(
    inputs: Array, signed_weights: str, off_current: str
) -> None:
    # 15 / (11 − 1) = 1.5 levels per active row.
    chip = exact(
        {
            "device.on_off_ratio": 11.0, "device.off_current": off_current,
            "mapping.signed_weights": signed_weights, "adc.bits": 12,
        }
    )  # fmt: skip
    mapping = map_network(spiking_network(), chip)
    slicing = mapping.slicing
    weights = np.hstack([mapping.layers[0].layer.matrix, np.zeros((ROWS, 1), int)])
    currents = block_sums(inputs, chip, slice_weights(weights, slicing) + 1.5)
    codes = np.floor(currents / 3 + 0.5).astype(int)
    factors = np.array([plane.factor for plane in slicing.planes])
    total = 3 * np.einsum("nbqo,q->no", codes, factors).astype(float)
    active = inputs.sum(axis=(1, 2, 3), dtype=int)[:, None]
    if signed_weights == "offset_column":
        total -= total[:, -1:]
    if signed_weights == "offset":
        total -= 128 * active + (1.5 * 17 * active if off_current == "digital" else 0)
    expected = np.floor(total[:, :OUTPUTS] + 0.5)
    np.testing.assert_array_equal(logits(chip, inputs), expected.astype(int))


def test_uncorrected_r_off_shifts_offset_weights_and_spares_pairs(inputs: Array) -> None:
    large = {"device.on_off_ratio": 16.0, "device.off_current": "uncorrected", "adc.bits": 12}
    active = inputs.sum(axis=(1, 2, 3), dtype=int)[:, None]
    for coding, shift in (
        ({"mapping.signed_weights": "offset"}, 17),
        ({"mapping.signed_weights": "offset_column"}, 0),
        ({"mapping.signed_weights": "differential"}, 0),
        ({"mapping.signed_weights": "differential", "mapping.subtract": "analog"}, 0),
    ):
        found = logits(exact(large | coding), inputs, 16)
        true = logits(exact(coding | {"adc.bits": 12}), inputs, 16)
        np.testing.assert_array_equal(found, true + shift * active)


def test_variation_moves_what_the_converters_see_of_r_off_too(inputs: Array) -> None:
    """Without rounding to speak of, subtracting before or after the converter is the same."""
    noisy = {"device.variation": 0.2, "device.variation_model": "device", "adc.bits": 12}
    before = logits(rram64(noisy), inputs, 16)
    after = logits(rram64(noisy | {"device.off_current": "digital"}), inputs, 16)
    exactly = logits(exact({"adc.bits": 12}), inputs, 16)
    # Six codes of half a level at most, 17 levels' worth.
    assert np.abs(after - before).max() <= 3 * 17 + 1
    assert np.abs(before - exactly).max() > 100


# Given conductances


@pytest.fixture
def replayed(tmp_path: Path) -> tuple[Chip, Array]:
    """A chip with conductances of its own, and these, float64 (rows, 2, outputs), in R_on's."""
    mapping = map_network(spiking_network(), exact())
    levels = slice_weights(mapping.layers[0].layer.matrix, mapping.slicing)
    cells = 0.1 + levels / 15 * 0.9
    cells *= np.exp(np.random.default_rng(9).normal(0, 0.2, cells.shape))
    write_npz(tmp_path / "cells.npz", {"L0": (cells * 15 / 0.9).reshape(ROWS, -1)})
    file = tmp_path / "chip.yaml"
    file.write_text(
        f"format: imcsim-arch/1\nextends: {ARCH / 'rram64.yaml'}\n"
        "device:\n  variation: 0.0\n  off_current: digital\n  conductances: cells.npz\n"
    )
    return load_chip(file, ["adc.bits=6"]), cells


def test_given_conductances_are_read_as_crosssim_reads_its_own(
    replayed: tuple[Chip, Array], inputs: Array
) -> None:
    """CrossSim in units of R_on: codes of 63 steps of 5 levels, R_off's share subtracted."""
    chip, cells = replayed
    step = 5 * 0.9 / 15
    currents = block_sums(inputs, chip, cells)
    codes = np.rint(np.clip(currents, 0, 63 * step) / step)
    active = inputs.sum(axis=(1, 2, 3), dtype=int)[:, None]
    slices = np.einsum("nbqo->nqo", codes * step)
    above_off = (slices - 0.1 * active[:, None]) / 0.9 * 15
    expected = above_off[:, 0] * 16 + above_off[:, 1] - 128 * active
    found = logits(chip, inputs, 80)
    np.testing.assert_array_equal(found, np.floor(expected + 0.5).astype(int))


@pytest.mark.parametrize("off_current", ["corrected", "digital"])
@pytest.mark.parametrize("row_order", ["channel", "flat"])
@pytest.mark.parametrize("signed_weights", ["offset", "offset_column", "differential"])
def test_exact_levels_given_as_conductances_are_exact_cells(
    tmp_path: Path, signed_weights: str, row_order: str, off_current: str
) -> None:
    """The order of word lines and columns, written down once more."""
    network = max_pool_network(seed=31)
    keys = {
        "mapping.signed_weights": signed_weights, "mapping.row_order": row_order,
        "device.off_current": off_current, "device.on_off_ratio": 16.0, "adc.bits": 7,
        "crossbar.cols": 16,
    }  # fmt: skip
    plain = map_network(network, exact(keys))
    arrays = {}
    for m in plain.layers:
        assert m.layer.weight is not None
        weight = m.layer.weight.reshape(m.c_out, m.layer.input_shape[0], *m.layer.window)
        order = (1, 2, 3, 0) if row_order == "flat" else (2, 3, 1, 0)
        stored = weight.transpose(order).reshape(-1, m.c_out)
        if signed_weights == "offset_column":
            stored = np.hstack([stored, np.zeros((len(stored), m.col_blocks), np.int8)])
        levels = slice_weights(stored, plain.slicing) + (off_current == "digital")
        arrays[f"L{m.index}"] = levels.reshape(len(stored), -1).astype(np.float32)
    write_npz(tmp_path / "cells.npz", arrays)
    given = map_network(network, exact(keys | {
        "device.conductances": str(tmp_path / "cells.npz")}))  # fmt: skip
    images = random_images(network, 2)
    steps = calibrated_steps(plain, images, 3)
    found, expected = (run_batch(build_model(m, 0, steps), images, 3) for m in (given, plain))
    for one, other in zip(fast(found), fast(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_given_conductances_do_not_depend_on_the_seed_but_verification_ignores_them(
    replayed: tuple[Chip, Array], inputs: Array
) -> None:
    chip, _ = replayed
    np.testing.assert_array_equal(logits(chip, inputs), logits(chip, inputs, seed=5))
    from imcsim.functional.forward import ideal_model
    from imcsim.network.reference import run_reference

    network = spiking_network()
    found = run_batch(ideal_model(map_network(network, chip)), inputs, 1).logits
    np.testing.assert_array_equal(found, run_reference(network, inputs).logits)


def fault_of(chip: Chip, network: Network, error: type[Exception]) -> str:
    mapping = map_network(network, chip)
    with pytest.raises(error) as caught:
        build_model(mapping, 0, lossless_steps(mapping))
    return str(caught.value)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        ({}, MappingError, "L0 is missing, layer fc needs it"),
        ({"L0": np.zeros((ROWS, 39))}, MappingError,
         "L0: shape (150, 39), layer fc on rram64 has (150, 40) (word lines, columns)"),
        ({"L0": np.zeros((ROWS, 40), int)}, ConfigError, "L0: must be floats (got int64)"),
        ({"L0": np.full((ROWS, 40), np.nan)}, ConfigError,
         "L0: must be numbers of at most 1e6 levels"),
    ],
)  # fmt: skip
def test_conductances_that_do_not_fit_are_one_line(
    tmp_path: Path, array: dict[str, Array], error: type[Exception], message: str
) -> None:
    file = tmp_path / "cells.npz"
    write_npz(file, array)
    chip = exact({"device.conductances": str(file)})
    assert fault_of(chip, spiking_network(), error) == f"{file}: {message}"


def test_a_damaged_file_of_conductances_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cells.npz"
    file.write_bytes(b"PK nonsense")
    chip = exact({"device.conductances": str(file)})
    line = fault_of(chip, spiking_network(), ConfigError)
    assert line.startswith(f"{file}: not a .npz file")
    assert "\n" not in line
    file.unlink()
    line = fault_of(chip, spiking_network(), ConfigError)
    assert line == f"{file}: cannot be read (No such file or directory)"


def test_missing_conductances_are_found_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(
        f"format: imcsim-arch/1\nextends: {ARCH / 'rram64.yaml'}\n"
        "device:\n  variation: 0.0\n  conductances: none.npz\n"
    )
    with pytest.raises(ArchError) as caught:
        load_chip(file)
    assert str(caught.value) == (
        f"{file}:5:17: device.conductances: {tmp_path / 'none.npz'} is no file"
    )
    with pytest.raises(UsageError) as misused:
        load_chip(ARCH / "rram64.yaml", ["device.variation=0.0", "device.conductances=none.npz"])
    assert str(misused.value) == "--set device.conductances=none.npz: none.npz is no file"


def test_given_conductances_and_variation_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "cells.npz"
    write_npz(file, {})
    with pytest.raises(UsageError) as caught:
        load_chip(ARCH / "rram64.yaml", [f"device.conductances={file}"])
    assert str(caught.value).endswith(
        "device.variation then must be 0 with device.conductances: they are given, not programmed"
        " (got 0.2)"
    )


# Converters with errors


def wide_mapping(**overrides: Any) -> Mapping:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    room = {"chip.mesh_columns": 64, "chip.mesh_rows": 64, "sigma_e.fifo_depth": 4096}
    return map_network(spiking_network(2000, 960), exact(room | named))


def test_offsets_and_gains_have_their_spread_and_no_bias() -> None:
    mapping = wide_mapping(adc__offset_sigma_levels=2.0, adc__gain_sigma=0.05)
    errors = draw_errors(mapping, mapping.layers[0], 11)
    assert errors is not None
    # One draw for 8 columns: 32 row blocks · 30 column blocks · 8 converters.
    count = 32 * 30 * 8
    for values, mean, sigma in ((errors.offset_levels, 0, 2.0), (errors.gain, 1, 0.05)):
        distinct = values[:, 0, ::4].astype(float)
        assert distinct.size == count
        # Five standard errors of the mean and of the standard deviation.
        assert distinct.mean() == pytest.approx(mean, abs=5 * sigma / count**0.5)
        assert distinct.std() == pytest.approx(sigma, rel=5 / (2 * count) ** 0.5)
    correlation = np.corrcoef(
        errors.offset_levels[:, 0, ::4].ravel(), errors.gain[:, 0, ::4].ravel()
    )[0, 1]
    assert abs(correlation) < 5 / count**0.5


def test_columns_share_the_errors_of_their_converter() -> None:
    mapping = wide_mapping(adc__offset_sigma_levels=1.0)
    errors = draw_errors(mapping, mapping.layers[0], 11)
    assert errors is not None
    # Columns 0..7 are both slices of weights 0..3; crossbars hold 32 weights.
    offset = errors.offset_levels
    for first in (0, 4, 28, 32):
        assert len(np.unique(offset[3, :, first : first + 4])) == 1
    assert len(np.unique(offset[3, 0, :32:4])) == 8
    assert (errors.gain == 1).all()


def test_separate_slices_have_converters_of_their_own() -> None:
    mapping = wide_mapping(adc__offset_sigma_levels=1.0, mapping__slices="separate")
    errors = draw_errors(mapping, mapping.layers[0], 11)
    assert errors is not None
    offset = errors.offset_levels
    assert len(np.unique(offset[0, 0, :8])) == 1
    assert (offset[:, 0] != offset[:, 1]).all()


def test_a_reference_column_has_the_errors_of_the_last_converter() -> None:
    mapping = wide_mapping(adc__offset_sigma_levels=1.0, mapping__signed_weights="offset_column")
    placed = mapping.layers[0]
    errors = draw_errors(mapping, placed, 11)
    assert errors is not None
    offset = errors.offset_levels
    assert placed.weights_per_crossbar == 31
    # Weights 28, 29 and 30 and the reference are columns 56..63.
    np.testing.assert_array_equal(offset[:, :, 960], offset[:, :, 30])
    np.testing.assert_array_equal(offset[:, :, 961], offset[:, :, 31 + 30])
    assert (offset[:, :, 960] != offset[:, :, 27]).all()


def test_errors_belong_to_the_chip_not_to_the_run(inputs: Array) -> None:
    chip = exact({"adc.offset_sigma_levels": 2.0, "adc.gain_sigma": 0.02})
    one = logits(chip, inputs, seed=1)
    np.testing.assert_array_equal(one, logits(chip, inputs, seed=1))
    assert (one != logits(chip, inputs, seed=2)).any()
    # Neither the batch nor the other images matter.
    np.testing.assert_array_equal(one[5:9], logits(chip, inputs[5:9], seed=1))


def test_an_offset_is_read_even_where_nothing_is_active() -> None:
    chip = exact({"adc.offset_sigma_levels": 4.0})
    silent = np.zeros((1, ROWS, 1, 1), np.uint8)
    assert logits(chip, silent, 16).any()
    gain_only = exact({"adc.gain_sigma": 0.1})
    assert not logits(gain_only, silent, 16).any()


def test_a_gain_error_scales_the_sums(inputs: Array) -> None:
    """One row block and one converter per crossbar: 10 % more of every current."""
    overrides = {
        "crossbar.rows": 256, "adc.columns_per_adc": 64, "adc.gain_sigma": 0.1, "adc.bits": 12,
    }  # fmt: skip
    chip = exact(overrides)
    mapping = map_network(spiking_network(), chip)
    errors = draw_errors(mapping, mapping.layers[0], 4)
    assert errors is not None
    gain = float(errors.gain[0, 0, 0])
    true = logits(exact(overrides | {"adc.gain_sigma": 0.0}), inputs, 16)
    active = inputs.sum(axis=(1, 2, 3), dtype=int)[:, None]
    # The popcount is digital: only the offset-coded sums are scaled.
    expected = gain * (true + 128 * active) - 128 * active
    # Half a level of 17 for rounding to codes.
    assert np.abs(logits(chip, inputs, 16, seed=4) - expected).max() <= 8.5 + 1


# Noise


@pytest.mark.needs_jit
def test_noise_is_drawn_for_every_conversion_with_its_spread() -> None:
    """Equal images, one column: sums spread by σ of each slice and row block."""
    sigma, images = 3.0, 4000
    chip = exact(
        {"adc.noise_sigma_levels": sigma, "adc.bits": 12, "crossbar.rows": 64}
    )  # fmt: skip
    inputs = np.ones((images, ROWS, 1, 1), np.uint8)
    found = logits(chip, inputs, 16).astype(float)
    true = logits(exact({"adc.bits": 12}), inputs[:1], 16)
    # Three row blocks; codes round to whole levels, which adds 1/12 to each variance.
    spread = (3 * (sigma**2 + 1 / 12) * (16**2 + 1)) ** 0.5
    assert np.abs(found.mean(axis=0) - true[0]).max() < 5 * spread / images**0.5
    # Five standard errors, 20 outputs.
    np.testing.assert_allclose(found.std(axis=0), spread, rtol=5 / (2 * images) ** 0.5)
    correlation = np.corrcoef(found.T) - np.eye(OUTPUTS)
    assert np.abs(correlation).max() < 5 / images**0.5


def test_noise_belongs_to_the_chip_and_the_image(inputs: Array) -> None:
    chip = exact({"adc.noise_sigma_levels": 2.0})
    mapping = map_network(spiking_network(), chip)
    steps = uniform_steps(mapping, 48)

    def run_part(seed: int, first: int, last: int) -> Array:
        model = build_model(mapping, seed, steps)
        return run_batch(model, inputs[first:last], 1, first_image=first).logits

    whole = run_part(1, 0, 12)
    np.testing.assert_array_equal(whole, run_part(1, 0, 12))
    np.testing.assert_array_equal(whole[5:], run_part(1, 5, 12))
    assert (whole != run_part(2, 0, 12)).any()


@pytest.mark.parametrize(("first_layer", "kept"), [("once", True), ("every_timestep", False)])
def test_a_static_image_is_read_with_fresh_noise_unless_its_currents_are_kept(
    first_layer: str, kept: bool
) -> None:
    network = replace(spiking_network(), timesteps=3)
    options = {"adc.noise_sigma_levels": 4.0, "dataflow.first_layer": first_layer}
    mapping = map_network(network, exact(options))
    images = np.ones((2, ROWS, 1, 1), np.uint8)
    model = build_model(mapping, 0, uniform_steps(mapping, 16))
    found = run_batch(model, images, 3)
    assert (found.logits[:, 1] == found.logits[:, 0]).all() == kept
    assert (found.logits[:, 2] == found.logits[:, 1]).all() == kept
    assert (found.logits[0] != found.logits[1]).any()
    # What is counted does not depend on it.
    counts = found.measured_once if kept else found.measured_step.mean(axis=1)
    assert counts[:, 0, 0].tolist() == [ROWS, ROWS]


@pytest.mark.needs_jit
def test_groups_of_rows_have_noise_of_their_own() -> None:
    """Two reads of half the rows are noisier than one of all."""
    images = np.ones((3000, 64, 1, 1), np.uint8)
    spread = [
        logits(exact({"adc.noise_sigma_levels": 5.0, "adc.bits": 12, "crossbar.rows_per_read": n}),
               images, 16).std(axis=0).mean()
        for n in (64, 32, 16)
    ]  # fmt: skip
    assert spread[1] / spread[0] == pytest.approx(2**0.5, rel=0.02)
    assert spread[2] / spread[1] == pytest.approx(2**0.5, rel=0.02)


def test_an_image_that_leaves_does_not_move_the_noise_of_the_others(inputs: Array) -> None:
    network = replace(spiking_network(), timesteps=2)
    mapping = map_network(network, exact({"adc.noise_sigma_levels": 2.0}))
    model = build_model(mapping, 0, uniform_steps(mapping, 48))
    whole = run_batch(model, inputs[:6], 2)
    some = run_batch(model, inputs[:6], 2, stop=lambda logits, running: running % 2 == 0)
    np.testing.assert_array_equal(some.logits[1::2], whole.logits[1::2])
    assert some.simulated.tolist() == [1, 2, 1, 2, 1, 2]
