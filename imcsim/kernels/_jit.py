"""The only place that spells Numba's options.

The options are fixed: Numba's on-disk cache does not notice when they change, and fast-math would
let the last bit of a sum depend on the machine. Kernels that call each other live in one file,
because the cache does not notice changes in another file either; constants come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

kernel: Callable[[F], F] = numba.njit(cache=True, error_model="numpy", fastmath=False, nogil=True)
"""Compile a function of arrays and scalars; ``NUMBA_DISABLE_JIT=1`` leaves it plain Python."""

inlined: Callable[[F], F] = numba.njit(
    cache=True, error_model="numpy", fastmath=False, nogil=True, forceinline=True
)
"""The same, made part of every kernel that calls it: passing a dozen arrays costs more than a short
inner loop."""
