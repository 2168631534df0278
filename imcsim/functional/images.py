"""Many images: batches within a memory budget, spread over worker threads.

Kernels release the interpreter lock, so threads share one copy of the programmed chip. A batch's
result depends on nothing but its images, and batches are joined in order: neither `jobs` nor the
batch size can change a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from imcsim.errors import UsageError
from imcsim.functional.forward import (
    ChipModel,
    FunctionalResult,
    StopRule,
    bytes_per_image,
    merge,
    run_batch,
)
from imcsim.network.layers import Network

LARGEST_BATCH = 16
"""Beyond this, rows of weights are not reused any better."""


def batch_size(network: Network, images: int, jobs: int, memory_bytes: int) -> int:
    """Largest batch that keeps all workers busy and within `memory_bytes`.

    Raises
    ------
    UsageError
        If one image per worker needs more.
    """
    per_image = bytes_per_image(network)
    fits = memory_bytes // (per_image * jobs)
    if fits < 1:
        raise UsageError(
            f"--memory {memory_bytes}: {jobs} worker{' needs' if jobs == 1 else 's need'} "
            f"at least {per_image * jobs:,} bytes (fewer --jobs or more memory)"
        )
    return int(min(fits, LARGEST_BATCH, max(-(-images // jobs), 1)))


def run_images(
    model: ChipModel,
    images: npt.NDArray[np.uint8],
    timesteps: int,
    jobs: int = 1,
    batch: int = LARGEST_BATCH,
    stop: Callable[[slice], StopRule] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FunctionalResult:
    """Run images in batches.

    Parameters
    ----------
    stop
        Makes the stop rule of a batch from its place among the images; None: all timesteps.
    progress
        Told the number of images finished, each time a batch is.
    """

    def work(part: slice) -> FunctionalResult:
        rule = stop(part) if stop else None
        result = run_batch(model, images[part], timesteps, stop=rule, first_image=part.start)
        if progress is not None:
            progress(part.stop - part.start)
        return result

    parts = [slice(i, min(i + batch, len(images))) for i in range(0, len(images), batch)]
    if jobs == 1:
        return merge([work(part) for part in parts])
    with ThreadPoolExecutor(jobs) as workers:
        return merge(list(workers.map(work, parts)))
