"""Normal deviates for single reads, computed from the read's address; the slow twin is
`imcsim.functional.devices.read_draws`.

Eight lines share one Philox4x32-10 block (Salmon et al., SC 2011): the loop over blocks has no
branches and no memory, and is vectorised by the compiler; looking up the quantiles takes about as
long again. Together 0.6 to 0.9 ns per deviate (1,024 to 128 lines) on one core with AVX-512.
"""

from __future__ import annotations

import numpy as np

from imcsim.kernels._jit import kernel


@kernel
def philox4x32(counter, key, words):
    """Philox4x32-10 of many blocks that differ in the last counter word only.

    Parameters
    ----------
    counter : uint32 (4,)
        Address of block 0; block g has ``counter[3] + g``.
    key : uint32 (2,)
    words : uint32 (4, blocks)
        Output: the four words of every block.
    """
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    multiplier_0, multiplier_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    step_0, step_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    first_0, first_1 = np.uint64(counter[0]), np.uint64(counter[1])
    first_2, first_3 = np.uint64(counter[2]), np.uint64(counter[3])
    first_key_0, first_key_1 = np.uint64(key[0]), np.uint64(key[1])
    for block in range(words.shape[1]):
        c0, c1, c2, c3 = first_0, first_1, first_2, first_3 + np.uint64(block)
        k0, k1 = first_key_0, first_key_1
        for _ in range(10):
            p0 = multiplier_0 * c0
            p1 = multiplier_1 * c2
            c0 = (p1 >> half) ^ c1 ^ k0
            c2 = (p0 >> half) ^ c3 ^ k1
            c1 = p1 & mask
            c3 = p0 & mask
            k0 = (k0 + step_0) & mask
            k1 = (k1 + step_1) & mask
        words[0, block] = c0
        words[1, block] = c1
        words[2, block] = c2
        words[3, block] = c3


@kernel
def line_normals(counter, key, quantiles, words, out):
    """Standard normal deviates of the lines of one read.

    Parameters
    ----------
    counter : uint32 (4,)
        Address of the read: `Read.counter(0)`.
    key : uint32 (2,)
        Seed, lower word first.
    quantiles : float32 (4096,)
        `normal_quantiles()`.
    words : uint32 (4, ⌈lines / 8⌉)
        Scratch.
    out : float32 (lines,)
        Output.
    """
    philox4x32(counter, key, words)
    lines = out.shape[0]
    whole = lines // 8
    low, high, lower = np.uint32(4), np.uint32(20), np.uint32(0xFFF)
    for block in range(whole):
        for word in range(4):
            drawn = words[word, block]
            out[8 * block + 2 * word] = quantiles[(drawn >> low) & lower]
            out[8 * block + 2 * word + 1] = quantiles[drawn >> high]
    for line in range(8 * whole, lines):
        drawn = words[(line % 8) // 2, whole]
        shift = high if line % 2 else low
        out[line] = quantiles[(drawn >> shift) & lower]


@kernel
def window_normals(first, key, quantiles, words, out):
    """Standard normal deviates of all reads of neighbouring windows.

    Parameters
    ----------
    first : uint32 (4,)
        Address of the first window's first read: `Read.counter(0)` with bit 0 and row block 0.
    key : uint32 (2,)
        Seed, lower word first.
    quantiles : float32 (4096,)
        `normal_quantiles()`.
    words : uint32 (4, ⌈lines / 8⌉)
        Scratch.
    out : float32 (windows, input bits, row blocks, lines)
        Output.
    """
    counter = first.copy()
    for window in range(out.shape[0]):
        counter[1] = first[1] + np.uint32(window)
        for bit in range(out.shape[1]):
            counter[2] = first[2] | np.uint32(bit << 4)
            for block in range(out.shape[2]):
                counter[3] = np.uint32(block << 17)
                line_normals(counter, key, quantiles, words, out[window, bit, block])
