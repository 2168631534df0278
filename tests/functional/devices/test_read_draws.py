from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from imcsim.functional.devices.read_draws import (
    Read,
    ReadKind,
    line_normals,
    normal_quantiles,
    philox4x32,
)

READ = Read(ReadKind.COLUMN, layer=3, image=9999, timestep=2, window=77, bit=5, row_block=9)

# Random123's known answers (kat_vectors of Salmon et al.): counter, key, words.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, int, int, int]
) -> None:
    assert philox4x32(counter, key) == words


def test_the_quantiles_are_those_of_the_normal_distribution() -> None:
    quantiles = normal_quantiles()
    assert (quantiles.dtype, quantiles.shape) == (np.float32, (4096,))
    exact = stats.norm.ppf((np.arange(4096) + 0.5) / 4096)
    np.testing.assert_allclose(quantiles, exact / exact.std(), rtol=1e-6)
    assert quantiles.astype(float).var() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(quantiles, -quantiles[::-1])


def drawn(seed: int, read: Read, lines: int) -> npt.NDArray[np.float32]:
    return line_normals(seed, read, lines, normal_quantiles())


def test_a_draw_depends_on_its_address_only() -> None:
    np.testing.assert_array_equal(drawn(7, READ, 13), drawn(7, READ, 40)[:13])


@pytest.mark.parametrize("name", [field.name for field in fields(Read)] + ["seed", "high seed"])
def test_every_part_of_the_address_counts(name: str) -> None:
    other = replace(READ, **{name: ReadKind.ROW}) if name == "kind" else READ
    if name not in ("kind", "seed", "high seed"):
        other = replace(READ, **{name: getattr(READ, name) + 1})
    seed = {"seed": 8, "high seed": 7 + (1 << 32)}.get(name, 7)
    # 64 deviates: one in 4,096 coincides by chance.
    assert (drawn(seed, other, 64) != drawn(7, READ, 64)).mean() > 0.9


def test_the_parts_of_the_largest_address_do_not_overlap() -> None:
    largest = Read(
        ReadKind.ROW,
        layer=2**12 - 1,
        image=2**32 - 1,
        timestep=2**12 - 1,
        window=2**32 - 1,
        bit=15,
        row_block=2**15 - 1,
    )
    words = largest.counter(2**20 - 1)
    assert words == (2**32 - 1, 2**32 - 1, 2**32 - 16 + ReadKind.ROW, 2**32 - 1)
