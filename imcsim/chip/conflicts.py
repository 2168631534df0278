"""Values of an architecture file that are each allowed, but not together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from imcsim.chip.nonidealities import FIXED_WHEN_MADE, Programming, nonideality_conflicts
from imcsim.chip.sections import Adc, ChipLevel, Crossbar, Device, MappingRules, columns_needed
from imcsim.chip.technology import Technology
from imcsim.config.check import Conflict
from imcsim.config.yaml_positions import dotted

LEAST_READ_RATIO = 1.1
"""Below this R_off/R_on, R_off's current is over ten times what a cell can hold: no converter could
read it."""


def conflicts(sections: Mapping[str, object]) -> Iterator[Conflict]:
    """Faults between sections; those of which a section is missing or invalid are passed over."""
    chip, technology = sections.get("chip"), sections.get("technology")
    if isinstance(chip, ChipLevel) and isinstance(technology, Technology):
        yield from _supply_conflicts(chip, technology)
    crossbar, adc = sections.get("crossbar"), sections.get("adc")
    if isinstance(adc, Adc):
        yield from _step_conflicts(adc)
    device = sections.get("device")
    if isinstance(device, Device):
        yield from _device_conflicts(device)
    yield from _mapping_conflicts(sections)
    if isinstance(crossbar, Crossbar):
        yield from _crossbar_conflicts(crossbar, sections)


def _device_conflicts(device: Device) -> Iterator[Conflict]:
    at, variation = ("device", "nonidealities"), ("device", "variation")
    programming = [i for i, m in enumerate(device.nonidealities) if isinstance(m, Programming)]
    if programming and device.variation:
        yield Conflict(
            (variation, (*at, programming[0], "model")),
            f"must be 0 with {dotted((*at, programming[0]))}, model programming"
            f" (got {device.variation:g})",
        )
    yield from nonideality_conflicts(device.nonidealities if programming else device.models, at)
    if device.conductances is None:
        return
    if device.variation:
        yield Conflict(
            (variation, ("device", "conductances")),
            "must be 0 with device.conductances: they are given, not programmed"
            f" (got {device.variation:g})",
        )
    for i, entry in enumerate(device.nonidealities):
        if isinstance(entry, FIXED_WHEN_MADE):
            yield Conflict(
                ((*at, i, "model"), ("device", "conductances")),
                f"{entry.model} has no effect with device.conductances: they hold what a chip is"
                " made with",
            )


def _supply_conflicts(chip: ChipLevel, technology: Technology) -> Iterator[Conflict]:
    supply = technology.supply_v.value
    if not math.isclose(chip.vdd_v, supply, rel_tol=1e-9):
        yield Conflict(
            (("chip", "vdd_v"), ("technology", "supply_v")),
            f"must be {supply:g}, the supply voltage of technology {technology.name}"
            f" (got {chip.vdd_v:g}): its values are not scaled to other voltages",
        )


def _crossbar_conflicts(crossbar: Crossbar, sections: Mapping[str, object]) -> Iterator[Conflict]:
    adc, chip = sections.get("adc"), sections.get("chip")
    if isinstance(adc, Adc) and adc.columns_per_adc > crossbar.cols:
        yield Conflict(
            (("adc", "columns_per_adc"), ("crossbar", "cols")),
            f"must be at most crossbar.cols, {crossbar.cols} (got {adc.columns_per_adc})",
        )
    if isinstance(chip, ChipLevel) and crossbar.read_v > chip.vdd_v:
        yield Conflict(
            (("crossbar", "read_v"), ("chip", "vdd_v")),
            f"must be at most chip.vdd_v, {chip.vdd_v:g} (got {crossbar.read_v:g})",
        )
    if crossbar.rows_per_read is not None and crossbar.rows_per_read > crossbar.rows:
        yield Conflict(
            (("crossbar", "rows_per_read"), ("crossbar", "rows")),
            f"must be at most crossbar.rows, {crossbar.rows} (got {crossbar.rows_per_read})",
        )
    device, mapping = sections.get("device"), sections.get("mapping")
    if isinstance(device, Device) and isinstance(mapping, MappingRules):
        yield from _column_conflicts(crossbar, device, mapping)


def _column_conflicts(
    crossbar: Crossbar, device: Device, mapping: MappingRules
) -> Iterator[Conflict]:
    needed = columns_needed(device.bits, mapping)
    if crossbar.cols >= needed:
        return
    what = "one slice" if mapping.slices == "separate" else "the cells"
    reference = " and its reference" if mapping.signed_weights == "offset_column" else ""
    yield Conflict(
        (("crossbar", "cols"), ("device", "bits"), ("mapping", "signed_weights")),
        f"must be at least {needed}, {what} of one {mapping.weight_bits}-bit weight{reference}"
        f" with device.bits {device.bits} and mapping.signed_weights {mapping.signed_weights}"
        f" (got {crossbar.cols})",
    )


def _step_conflicts(adc: Adc) -> Iterator[Conflict]:
    keys = (("adc", "step_levels"), ("adc", "range"))
    if adc.range == "fixed" and adc.step_levels is None:
        yield Conflict(keys[::-1], "fixed needs adc.step_levels, what one code is worth")
    if adc.step_levels is None:
        return
    if adc.range != "fixed":
        yield Conflict(keys, f"has no effect with adc.range {adc.range}; it belongs to fixed")
    elif adc.step_levels * 16 % 1:
        yield Conflict(keys, f"must be a multiple of 1/16 (got {adc.step_levels:g})")


def _mapping_conflicts(sections: Mapping[str, object]) -> Iterator[Conflict]:
    rules, adc, device = (sections.get(name) for name in ("mapping", "adc", "device"))
    if isinstance(rules, MappingRules) and rules.subtract == "analog":
        if rules.signed_weights != "differential":
            yield Conflict(
                (("mapping", "subtract"), ("mapping", "signed_weights")),
                "analog subtracts positive and negative cells; mapping.signed_weights must be"
                f" differential (got {rules.signed_weights})",
            )
        elif isinstance(adc, Adc) and adc.bits < 2:
            yield Conflict(
                (("adc", "bits"), ("mapping", "subtract")),
                "must be at least 2 with mapping.subtract analog: one bit is the sign (got 1)",
            )
    reads_off = isinstance(device, Device) and device.off_current != "corrected"
    if isinstance(device, Device) and reads_off and device.on_off_ratio < LEAST_READ_RATIO:
        yield Conflict(
            (("device", "on_off_ratio"), ("device", "off_current")),
            f"must be at least {LEAST_READ_RATIO} with device.off_current {device.off_current}"
            f" (got {device.on_off_ratio:g})",
        )
