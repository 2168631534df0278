from __future__ import annotations

import numpy as np
import pytest

from imcsim.errors import UsageError
from imcsim.functional.calibration import calibrated_steps
from imcsim.functional.forward import (
    ChipModel,
    FunctionalResult,
    StopRule,
    build_model,
    bytes_per_image,
)
from imcsim.functional.images import batch_size, run_images
from imcsim.mapping import map_network
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_images

FIELDS = ("logits", "simulated", "measured_once", "measured_step", "spikes", "saturations")


def noisy_model(name: str = "max_pool", model: str = "device") -> ChipModel:
    """Coarse converters, programmed cells, the first layer kept: all that could go wrong."""
    overrides = {"device.variation_model": model, "dataflow.first_layer": "once", "adc.bits": 5}
    network = SMALL_NETWORKS[name](seed=30)
    mapping = map_network(network, rram64(overrides))
    steps = calibrated_steps(mapping, random_images(network, 4, seed=1), 3)
    return build_model(mapping, 5, steps)


def assert_equal(found: FunctionalResult, expected: FunctionalResult) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("variation_model", ["weight", "device"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_neither_batch_nor_jobs_change_a_bit(name: str, variation_model: str) -> None:
    model = noisy_model(name, variation_model)
    images = random_images(model.mapping.network, 11)
    expected = run_images(model, images, 3)
    for jobs, batch in ((1, 1), (1, 4), (2, 3), (3, 1), (4, 16)):
        assert_equal(run_images(model, images, 3, jobs=jobs, batch=batch), expected)


def test_the_order_of_images_changes_nothing_but_their_places() -> None:
    model = noisy_model()
    images = random_images(model.mapping.network, 9)
    order = np.random.default_rng(0).permutation(9)
    straight = run_images(model, images, 3, batch=4)
    shuffled = run_images(model, images[order], 3, batch=4)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(straight, name)[order])


def test_a_stop_rule_is_made_for_each_batch_from_its_place() -> None:
    model = noisy_model()
    images = random_images(model.mapping.network, 10)
    wanted = np.array([1, 3, 2, 1, 3, 2, 2, 1, 1, 3])

    def stop(part: slice) -> StopRule:
        return lambda so_far, running: wanted[part][running] == so_far.shape[1]

    full = run_images(model, images, 3)
    for jobs, batch in ((1, 16), (1, 3), (2, 4)):
        result = run_images(model, images, 3, jobs=jobs, batch=batch, stop=stop)
        np.testing.assert_array_equal(result.simulated, wanted)
        alive = np.arange(3) < wanted[:, None]
        np.testing.assert_array_equal(result.logits, full.logits * alive[..., None])
        np.testing.assert_array_equal(
            result.measured_step, full.measured_step * alive[..., None, None]
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_hears_of_every_image_once(jobs: int) -> None:
    model = noisy_model()
    told: list[int] = []
    images = random_images(model.mapping.network, 10)
    run_images(model, images, 1, jobs=jobs, batch=4, progress=told.append)
    assert sorted(told) == [2, 4, 4]


def test_a_fault_in_a_worker_comes_out() -> None:
    model = noisy_model()

    def stop(part: slice) -> StopRule:
        raise RuntimeError(f"no rule for {part.start}")

    with pytest.raises(RuntimeError, match="no rule for 0"):
        run_images(model, random_images(model.mapping.network, 4), 3, jobs=2, batch=2, stop=stop)


def test_a_batch_fits_the_memory_of_all_workers() -> None:
    network = max_pool_network()
    one = bytes_per_image(network)
    assert batch_size(network, images=1000, jobs=1, memory_bytes=5 * one) == 5
    assert batch_size(network, images=1000, jobs=2, memory_bytes=5 * one) == 2
    assert batch_size(network, images=1000, jobs=2, memory_bytes=1 << 40) == 16


def test_few_images_are_shared_among_all_workers() -> None:
    network = max_pool_network()
    assert batch_size(network, images=6, jobs=4, memory_bytes=1 << 40) == 2
    assert batch_size(network, images=1, jobs=4, memory_bytes=1 << 40) == 1


def test_too_little_memory_is_refused() -> None:
    network = max_pool_network()
    one = bytes_per_image(network)
    # 5 bytes for each of 180 + 45 + 63 + 4 outputs, 20 for each of the largest layer's, 2 for each
    # of the 18 inputs of conv1's 36 windows.
    assert one == 5 * 292 + 20 * 180 + 2 * 36 * 18
    with pytest.raises(UsageError) as caught:
        batch_size(network, images=10, jobs=2, memory_bytes=one)
    assert str(caught.value) == (
        f"--memory {one}: 2 workers need at least {2 * one:,} bytes (fewer --jobs or more memory)"
    )


def test_different_chips_give_different_scores_and_the_same_chip_the_same() -> None:
    network = max_pool_network(seed=31)
    mapping = map_network(network, rram64())
    images = random_images(network, 5)
    steps = calibrated_steps(mapping, images, 3)
    first, again, other = (
        run_images(build_model(mapping, seed, steps), images, 3).logits for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
