from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imcsim.errors import MappingError
from imcsim.functional.adc_report import ConversionReport, adc_report
from imcsim.functional.calibration import calibrated_steps
from imcsim.mapping import map_network
from tests.functional.test_calibration import seen_sizes
from tests.mapping.chips import rram64
from tests.small_networks import max_pool_network, random_images

FIXED = {"adc.range": "fixed", "adc.bits": 5}


def reports(overrides: dict[str, Any], images: int = 2) -> list[ConversionReport]:
    network = max_pool_network(seed=21)
    mapping = map_network(network, rram64(overrides))
    return adc_report(mapping, random_images(network, images), network.timesteps)


@pytest.mark.parametrize(
    "overrides",
    [
        {"adc.step_levels": 3.0},
        {"adc.step_levels": 2.0, "adc.rounding": "down"},
        {"adc.step_levels": 0.5, "mapping.signed_weights": "differential"},
        {"adc.step_levels": 1.0, "mapping.signed_weights": "differential",
         "mapping.subtract": "analog"},
    ],
)  # fmt: skip
def test_the_report_equals_every_conversion_written_down(overrides: dict[str, Any]) -> None:
    network = max_pool_network(seed=21)
    mapping = map_network(network, rram64(FIXED | overrides))
    images = random_images(network, 2)
    placed = mapping.layers[0]
    sums = np.concatenate(seen_sizes(mapping, placed, network.encode(images)))
    found = reports(FIXED | overrides)[: len(mapping.slicing.conversions)]
    step, half = overrides["adc.step_levels"], overrides.get("adc.rounding") != "down"
    top = 15 if "mapping.subtract" in overrides else 31
    for k, report in enumerate(found):
        true = sums[:, k].ravel()
        codes = np.floor(true / step + half / 2)
        errors = np.minimum(codes, top) * step - true
        assert report.layer == "conv1"
        assert report.plane == mapping.slicing.conversions[k]
        assert (report.step_levels, report.largest_code) == (step, top)
        assert report.full_scale_levels == top * step
        assert report.largest_levels == true.max()
        assert report.clipped == pytest.approx((codes > top).mean(), abs=1e-12)
        assert report.error_rms_levels == pytest.approx(np.sqrt((errors**2).mean()))
        assert report.error_mean_levels == pytest.approx(errors.mean())
    assert any(report.clipped > 0 for report in found)


def test_a_lossless_converter_reports_no_error() -> None:
    for report in reports({"adc.range": "lossless", "adc.bits": 10}):
        assert (report.clipped, report.error_rms_levels, report.error_mean_levels) == (0, 0, 0)


def test_calibrated_steps_are_those_of_the_run() -> None:
    network = max_pool_network(seed=21)
    mapping = map_network(network, rram64({"adc.bits": 4, "adc.calibration_images": 2}))
    images = random_images(network, 5)
    steps = calibrated_steps(mapping, images, network.timesteps)
    found = [16 * report.step_levels for report in adc_report(mapping, images, network.timesteps)]
    assert found == [step for m in mapping.layers for step in steps[m.index].tolist()]


def test_more_bits_leave_smaller_errors() -> None:
    # Slice by slice, with a range from the same images.
    for coarse, fine in zip(reports({"adc.bits": 4}), reports({"adc.bits": 7}), strict=True):
        assert fine.error_rms_levels < coarse.error_rms_levels


def test_a_lossless_range_without_bits_enough_is_refused_here_too() -> None:
    with pytest.raises(MappingError, match="needs 10 bits"):
        reports({"adc.range": "lossless"})
