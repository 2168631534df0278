from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imcsim.kernels.crossbar import _convert, column_sum_histogram, read_crossbars
from imcsim.mapping.slicing import Plane, Slicing, slice_weights
from tests.reference.crossbar import read_layer, windows

CROSSSIM = Path(__file__).parents[1] / "validation" / "data" / "crosssim.npz"
TWO_NIBBLES = Slicing(4, "offset", (Plane(1, 4), Plane(1, 0)))
PAIRS = Slicing(4, "differential", (Plane(1, 4), Plane(-1, 4), Plane(1, 0), Plane(-1, 0)))


def read(
    inputs: npt.NDArray[Any],
    levels: npt.NDArray[Any],
    slicing: Slicing,
    *,
    bits: int = 1,
    signed: bool = False,
    window: tuple[int, int] = (1, 1),
    stride: int = 1,
    block_rows: int = 64,
    steps: list[int],
    max_code: int,
    row_conductance: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Call the kernel on padded inputs (n, h, w, c) and levels (rows, planes, m).

    Steps are in 1/16 level, and so is the result in LSB.
    """
    rows, planes, outputs = levels.shape
    n, height, width, _ = inputs.shape
    flat = np.ascontiguousarray(levels.reshape(rows, -1))
    flat.setflags(write=False)
    real = levels.dtype == np.float32
    step = np.array(steps, np.int64)
    out_h, out_w = (height - window[0]) // stride + 1, (width - window[1]) // stride + 1
    out = np.full((n, out_h, out_w, outputs), 99, np.int32)
    counts = np.full((n, 3), 99, np.int64)
    sums = np.zeros(planes * outputs, np.float32 if real else np.uint16)
    conductance = np.ones(rows, np.int64) if row_conductance is None else row_conductance
    read_crossbars(
        np.ascontiguousarray(inputs), bits, signed, window, stride, block_rows, flat, conductance,
        (step / 32 + (0 if real else 1 / 64)).astype(np.float32), (16 / step).astype(np.float32),
        np.array([p.factor for p in slicing.planes] * step, np.int32), max_code,
        16 * slicing.offset, sums, out, counts,
    )  # fmt: skip
    assert not sums.any()
    return out, counts


@pytest.fixture(scope="module")
def crosssim() -> dict[str, npt.NDArray[Any]]:
    with np.load(CROSSSIM) as data:
        # Results are stored in 16 bits.
        return {
            key: value.astype(np.int32) if value.dtype == np.int16 else value
            for key, value in data.items()
        }


def channel_last(images: npt.NDArray[Any], padding: int) -> npt.NDArray[np.uint8]:
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return padded.transpose(0, 2, 3, 1).astype(np.uint8)


def channel_levels(weight: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Levels of a convolution's weights (c_out, c_in, ky, kx), channels next to each other."""
    return slice_weights(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)), TWO_NIBBLES)


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("images", "expected"), [("x", "channel_step3"), ("x_dense", "dense_step3")]
)
def test_a_convolution_equals_crosssim_bit_for_bit(
    crosssim: dict[str, npt.NDArray[Any]], images: str, expected: str
) -> None:
    out, _ = read(
        channel_last(crosssim[images], 1), channel_levels(crosssim["w"]), TWO_NIBBLES,
        window=(3, 3), steps=[48, 48], max_code=63,
    )  # fmt: skip
    np.testing.assert_array_equal(out.transpose(0, 3, 1, 2), 16 * crosssim[expected])


@pytest.mark.needs_jit
def test_rows_in_another_order_equal_crosssim_too(crosssim: dict[str, npt.NDArray[Any]]) -> None:
    w, x = crosssim["w"], channel_last(crosssim["x"], 1).astype(np.int64)
    unfolded = np.stack([windows(image, (3, 3), 1) for image in x])
    flat = unfolded.reshape(2, 8, 8, 9, 128).transpose(0, 1, 2, 4, 3).reshape(2, 8, 8, -1)
    levels = slice_weights(w.reshape(len(w), -1).T, TWO_NIBBLES)
    out, _ = read(flat.astype(np.uint8), levels, TWO_NIBBLES, steps=[80, 80], max_code=63)
    np.testing.assert_array_equal(out.transpose(0, 3, 1, 2), 16 * crosssim["flat_step5"])


@pytest.mark.needs_jit
def test_a_last_block_that_is_not_full_equals_crosssim(
    crosssim: dict[str, npt.NDArray[Any]],
) -> None:
    levels = slice_weights(crosssim["partial_w"].T, TWO_NIBBLES)
    inputs = crosssim["partial_x"].T[:, None, None, :]
    out, _ = read(inputs, levels, TWO_NIBBLES, steps=[48, 48], max_code=63)
    np.testing.assert_array_equal(out[:, 0, 0].T, 16 * crosssim["partial_step3"])


@pytest.mark.needs_jit
def test_eight_serial_input_bits_equal_crosssim(crosssim: dict[str, npt.NDArray[Any]]) -> None:
    out, _ = read(
        channel_last(crosssim["serial_x"], 1), channel_levels(crosssim["serial_w"]), TWO_NIBBLES,
        bits=8, window=(3, 3), steps=[80, 80], max_code=63,
    )  # fmt: skip
    np.testing.assert_array_equal(out.transpose(0, 3, 1, 2), 16 * crosssim["serial_step5"])


SIGNED = st.sampled_from([(1, False), (2, False), (3, False), (8, False), (8, True), (3, True)])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    bits_and_sign=SIGNED,
    block_rows=st.integers(1, 20),
    outputs=st.integers(1, 5),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    max_code=st.sampled_from([1, 3, 15, 255, 4095]),
    slicing=st.sampled_from([TWO_NIBBLES, PAIRS]),
    real=st.booleans(),
)
def test_the_kernel_equals_its_scalar_twin_bit_for_bit(
    seed: int,
    size: tuple[int, int, int],
    window: tuple[int, int],
    stride: int,
    bits_and_sign: tuple[int, bool],
    block_rows: int,
    outputs: int,
    density: float,
    max_code: int,
    slicing: Slicing,
    real: bool,
) -> None:
    rng = np.random.default_rng(seed)
    height, width, channels = size[0] + window[0], size[1] + window[1], size[2]
    bits, signed = bits_and_sign
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = rng.integers(low, high, (2, height, width, channels))
    inputs = values * (rng.random(values.shape) < density)
    rows, planes = window[0] * window[1] * channels, len(slicing.planes)
    levels: npt.NDArray[Any] = slice_weights(rng.integers(-127, 128, (rows, outputs)), slicing)
    if real:
        levels = (levels + rng.normal(0, 2, levels.shape)).astype(np.float32)
    conductance = rng.integers(-10, 1000, rows)
    steps = rng.integers(16, 200, planes).tolist()
    out, counts = read(
        inputs.astype(np.int8 if signed else np.uint8), levels, slicing, bits=bits, signed=signed,
        window=window, stride=stride, block_rows=block_rows, steps=steps, max_code=max_code,
        row_conductance=conductance,
    )  # fmt: skip
    for image in range(2):
        twin = read_layer(
            inputs[image], bits=bits, signed=signed, window=window, stride=stride,
            block_rows=block_rows, levels=levels, row_conductance=conductance, steps=steps,
            factors=[p.factor for p in slicing.planes], max_code=max_code, offset=slicing.offset,
        )  # fmt: skip
        np.testing.assert_array_equal(out[image], twin.out)
        assert counts[image].tolist() == [twin.activated, twin.conductance, twin.busy]


@pytest.mark.needs_jit
@pytest.mark.parametrize("step", [16, 17, 24, 31, 47, 48, 100, 333, 1000, 4096, 104448])
def test_every_column_sum_gets_the_code_of_whole_number_arithmetic(step: int) -> None:
    # Up to 512 rows of 8-bit cells; beyond, the product in single precision is too coarse for
    # quotients that are almost whole, but not for steps of one level.
    sums = np.arange((4096 if step == 16 else 512) * 255 + 1, dtype=np.uint32)
    out = np.zeros(sums.size, np.int32)
    bias = np.array([step / 32 + 1 / 64], np.float32)
    inverse = np.array([16 / step], np.float32)
    expected = (2 * 16 * sums.astype(np.int64) + step) // (2 * step)
    _convert(sums, bias, inverse, np.ones(1, np.int32), 1 << 20, 1, out)
    np.testing.assert_array_equal(out, expected)
    assert not sums.any()


def test_a_lossless_read_of_signed_inputs_is_the_dot_product() -> None:
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, (50, 6))
    x = rng.integers(-128, 128, (4, 1, 1, 50)).astype(np.int8)
    for slicing in (TWO_NIBBLES, PAIRS):
        out, _ = read(
            x, slice_weights(weights, slicing), slicing, bits=8, signed=True, block_rows=16,
            steps=[16] * len(slicing.planes), max_code=16 * 15,
        )  # fmt: skip
        np.testing.assert_array_equal(out[:, 0, 0], 16 * x[:, 0, 0].astype(np.int64) @ weights)


def test_an_input_without_spikes_reads_nothing_and_gives_zero() -> None:
    levels = slice_weights(np.full((10, 2), -7), TWO_NIBBLES)
    out, counts = read(
        np.zeros((1, 1, 1, 10), np.uint8), levels, TWO_NIBBLES, steps=[16, 16], max_code=9
    )
    assert not out.any()
    assert counts.tolist() == [[0, 0, 0]]


def test_a_negative_column_sum_is_code_zero() -> None:
    levels = np.full((3, 1, 1), -2.0, np.float32)
    plain = Slicing(8, "differential", (Plane(1, 0),))
    out, _ = read(np.ones((1, 1, 1, 3), np.uint8), levels, plain, steps=[16], max_code=9)
    assert out.item() == 0


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    block_rows=st.integers(1, 12),
    bits=st.integers(1, 3),
)
def test_the_histogram_counts_every_column_sum(
    seed: int, window: tuple[int, int], stride: int, block_rows: int, bits: int
) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 2**bits, (2, 3 + window[0], 2 + window[1], 4)).astype(np.uint8)
    rows = window[0] * window[1] * 4
    levels = rng.integers(0, 16, (rows, 2, 3)).astype(np.uint8)
    blocks = -(-rows // block_rows)
    expected = np.zeros((blocks, 2, 15 * block_rows + 1), np.int64)
    for image in inputs:
        for fed in windows(image.astype(np.int64), window, stride).reshape(-1, rows):
            for bit, block in np.ndindex(bits, blocks):
                part = slice(block * block_rows, (block + 1) * block_rows)
                sums = ((fed[part, None, None] >> bit & 1) * levels[part]).sum(axis=0)
                for q in range(2):
                    np.add.at(expected[block, q], sums[q], 1)
    found = np.zeros_like(expected)
    flat = levels.reshape(rows, -1)
    flat.setflags(write=False)
    sums = np.zeros(6, np.uint16)
    column_sum_histogram(inputs, bits, window, stride, block_rows, flat, 2, found, sums)
    np.testing.assert_array_equal(found, expected)
