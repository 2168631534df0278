from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from imcsim.functional.devices import read_draws
from imcsim.functional.devices.read_draws import Read, ReadKind, normal_quantiles
from imcsim.kernels.draws import line_normals, philox4x32, window_normals
from tests.functional.devices.test_read_draws import KNOWN_ANSWERS

READ = Read(ReadKind.COLUMN, layer=3, image=9999, timestep=2, window=77, bit=5, row_block=9)


def drawn(seed: int, read: Read, lines: int) -> npt.NDArray[np.float32]:
    out, words = np.empty(lines, np.float32), np.empty((4, -(-lines // 8)), np.uint32)
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
    counter = np.array(read.counter(0), np.uint32)
    line_normals(counter, key, normal_quantiles(), words, out)
    return out


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    found = np.empty((4, 1), np.uint32)
    philox4x32(np.array(counter, np.uint32), np.array(key, np.uint32), found)
    assert tuple(map(int, found[:, 0])) == words


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("lines", [1, 7, 8, 9, 64, 203])
def test_the_kernel_draws_what_the_reference_draws(seed: int, lines: int) -> None:
    expected = read_draws.line_normals(seed, READ, lines, normal_quantiles())
    np.testing.assert_array_equal(drawn(seed, READ, lines), expected)


def test_neighbouring_windows_bits_and_reads_are_drawn_by_their_addresses() -> None:
    found, words = np.empty((3, 2, 4, 11), np.float32), np.empty((4, 2), np.uint32)
    counter = np.array(replace(READ, bit=0, row_block=0).counter(0), np.uint32)
    window_normals(counter, np.array([7, 1], np.uint32), normal_quantiles(), words, found)
    for window, bit, row_block in np.ndindex(3, 2, 4):
        at = replace(READ, window=READ.window + window, bit=bit, row_block=row_block)
        expected = read_draws.line_normals(7 + 2**32, at, 11, normal_quantiles())
        np.testing.assert_array_equal(found[window, bit, row_block], expected)


@pytest.mark.needs_jit
def test_a_million_deviates_are_normal_and_independent() -> None:
    reads = (Read(ReadKind.COLUMN, 0, image, 0, window, 0, 0)
             for image in range(32) for window in range(32))  # fmt: skip
    sample = np.stack([drawn(5, read, 1024) for read in reads]).astype(np.float64)
    count = sample.size
    assert sample.mean() == pytest.approx(0, abs=5 / count**0.5)
    assert sample.var() == pytest.approx(1, abs=5 * (2 / count) ** 0.5)
    assert stats.skew(sample.ravel()) == pytest.approx(0, abs=5 * (6 / count) ** 0.5)
    # 4,096 steps end at 3.67 σ: the kurtosis is 2.9915 instead of 3.
    assert stats.kurtosis(sample.ravel()) == pytest.approx(-0.0085, abs=5 * (24 / count) ** 0.5)
    bound = 5 / count**0.5
    for first, second in (
        (sample[:, :-1], sample[:, 1:]),
        (sample[:-1], sample[1:]),
        (sample[:-32], sample[32:]),
        (sample[:, :-8], sample[:, 8:]),
    ):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < bound
        assert abs(np.corrcoef(first.ravel() ** 2, second.ravel() ** 2)[0, 1]) < bound


@pytest.mark.needs_jit
def test_every_quantile_is_drawn_equally_often() -> None:
    reads = (Read(ReadKind.COLUMN, 0, 0, 0, window, 0, 0) for window in range(400))
    sample = np.concatenate([drawn(6, read, 1024) for read in reads])
    counts = np.bincount(np.searchsorted(normal_quantiles(), sample), minlength=4096)
    assert counts.sum() == 400 * 1024
    assert stats.chisquare(counts).pvalue > 1e-4
