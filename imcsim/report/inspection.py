"""What is in an architecture or a workload, and what the one becomes on the other."""

from __future__ import annotations

from typing import Any

from imcsim.chip import Chip
from imcsim.energy import price_chip
from imcsim.functional.adc_report import adc_report
from imcsim.mapping import map_network
from imcsim.network import Workload
from imcsim.report.terminal import console, counted, label, plain_table
from imcsim.units import eng


def print_chip(chip: Chip) -> None:
    """Size, converters, area and leakage of a chip."""
    # Area and leakage, all that is shown, do not depend on the number of classes.
    out, bill = console(), price_chip(chip, 1)
    crossbars = chip.tiles * chip.tile.pes * chip.pe.crossbars
    out.print(
        f"{chip.name}: {counted(chip.tiles, 'tile')} ({chip.chip.mesh_columns} × "
        f"{chip.chip.mesh_rows}) of {counted(chip.tile.pes, 'PE')} (processing elements) of "
        f"{counted(chip.pe.crossbars, 'crossbar')}: "
        f"{counted(crossbars, 'crossbar')} of {chip.crossbar.rows} × {chip.crossbar.cols} cells"
    )
    out.print(
        f"{chip.device.bits}-bit {chip.device.type} cells, {chip.cells_per_weight} per weight of "
        f"{chip.mapping.weight_bits} bits (signed by {_coding(chip)}), "
        f"variation {100 * chip.device.variation:g} % ({chip.device.variation_model} model)"
        + "".join(f", {entry.model}" for entry in chip.device.nonidealities)
    )
    out.print(
        f"{counted(chip.adcs_per_crossbar, 'ADC')} of {chip.adc.bits} bits ({chip.adc.type}) per "
        f"crossbar, clock {eng(chip.chip.clock_hz, 'Hz')}, technology {chip.technology.name}\n"
    )
    table = plain_table("component", "area", "leakage")
    for name in sorted(bill.area_m2, key=bill.area_m2.__getitem__, reverse=True):
        leakage = bill.leakage_w.get(name, 0.0)
        table.add_row(
            label(name), eng(bill.area_m2[name], "m2"), eng(leakage, "W") if leakage else ""
        )
    table.add_row("total", eng(bill.total_area_m2, "m2"), eng(bill.total_leakage_w, "W"))
    out.print(table)
    out.print(
        "\ncrossbars' leakage includes their drivers, multiplexers and shift-and-add; the SAR fit "
        "has none"
    )


def _coding(chip: Chip) -> str:
    """How signs are stored and which keys differ from the plain mapping."""
    rules = chip.mapping
    words = {
        "currents subtracted": rules.subtract == "analog",
        "slices in separate crossbars": rules.slices == "separate",
        f"rows by {rules.row_order}": rules.row_order != "channel",
        f"{chip.rows_per_read} rows per read": chip.rows_per_read < chip.crossbar.rows,
    }
    return ", ".join(
        [rules.signed_weights.replace("_", " "), *(w for w, on in words.items() if on)]
    )


def print_workload(workload: Workload) -> None:
    """Layers, neuron, images, calibrated thresholds and recorded accuracies of a workload."""
    out, network, neuron = console(), workload.network, workload.network.neuron
    out.print(
        f"{network.name}: {counted(network.timesteps, 'timestep')}, {network.classes} classes, "
        f"images {_shape(network.image_shape)} ({network.encoding} encoding)"
    )
    out.print(
        f"LIF neurons: τ = {neuron.leak_multiplier}/{1 << neuron.leak_shift}, {neuron.reset} "
        f"reset, {neuron.membrane_bits}-bit membranes with "
        f"{counted(neuron.fraction_bits, 'fraction bit')}"
    )
    out.print(
        f"{counted(len(workload.images), 'test image')}, {len(workload.calibration_images)} for "
        f"calibration, {len(workload.golden_logits)} with the reference's class scores\n"
    )
    table = plain_table("layer", "kind", "input", "output", "input bits", "weights", "neurons")
    for layer in network.layers:
        table.add_row(
            layer.name, layer.kind.replace("_", " "), _shape(layer.input_shape),
            _shape(layer.output_shape), str(layer.input_bits),
            f"{0 if layer.weight is None else layer.weight.size:,}", f"{layer.neurons:,}",
        )  # fmt: skip
    out.print(table)
    if workload.theta:
        out.print("\nθ by exit policy and readout over timesteps")
    for policy, by_readout in workload.theta.items():
        marks = {True: " (default)", False: ""}
        values = ", ".join(
            f"{readout} {_words(value)}"
            f"{marks[(policy, readout) == (workload.policy, workload.accumulate)]}"
            for readout, value in by_readout.items()
        )
        out.print(f"  {policy}: {values}")
    if workload.accuracies:
        out.print("\nrecorded when the workload was made")
    for name, value in _leaves(workload.accuracies):
        out.print(f"  {name}: {value}")


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_words(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _leaves(said: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Innermost entries of nested objects, one line for each object of numbers."""
    lines: list[tuple[str, str]] = []
    for key, value in said.items():
        here = f"{path} {key.replace('_', ' ')}".strip()
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            lines.extend(_leaves(value, here))
        elif isinstance(value, dict):
            items = (f"{k.replace('_', ' ')} {_words(v)}" for k, v in value.items())
            lines.append((here, ", ".join(items)))
        else:
            lines.append((here, _words(value)))
    return lines


def print_mapping(chip: Chip, workload: Workload) -> None:
    """What a workload becomes on a chip: crossbars, tiles and reads per layer."""
    mapping, out = map_network(workload.network, chip), console()
    table = plain_table(
        "layer", "rows × outputs", "row blocks", "column blocks", "crossbars", "PEs", "tiles",
        "home tile", "windows", "input bits", "1-bit reads", "reads", "used cells",
    )  # fmt: skip
    for m in mapping.layers:
        table.add_row(
            m.layer.name, f"{m.rows:,} × {m.c_out:,}", f"{m.row_blocks:,}", f"{m.col_blocks:,}",
            f"{m.crossbars:,}", f"{m.pes:,}", f"{m.tiles:,}", str(m.first_tile),
            f"{m.positions:,}", str(m.layer.input_bits), f"{m.reads_one_bit:,}", f"{m.reads:,}",
            f"{100 * m.utilisation:.1f} %",
        )  # fmt: skip
    used = sum(m.utilisation * m.crossbars for m in mapping.layers) / mapping.crossbars
    one_bit = sum(m.reads_one_bit for m in mapping.layers)
    table.add_row(
        "total", "", "", "", f"{mapping.crossbars:,}", f"{sum(m.pes for m in mapping.layers):,}",
        f"{mapping.tiles:,}", "", "", "", f"{one_bit:,}", f"{mapping.reads:,}",
        f"{100 * used:.1f} %",
    )  # fmt: skip
    out.print(f"{workload.name} on {chip.name}\n")
    out.print(table)
    out.print(
        "\nwindows: positions at which the layer's weights are applied"
        "\nreads: crossbar reads per timestep; 1-bit reads: if every input had a single bit"
        f"\n{mapping.tiles:,} of the chip's {counted(chip.tiles, 'tile')} hold weights"
    )


def print_adc(chip: Chip, workload: Workload) -> None:
    """What a chip's converters make of a workload's calibration images, by layer and slice."""
    mapping, out = map_network(workload.network, chip), console()
    images = workload.calibration_images[: chip.adc.calibration_images]
    table = plain_table(
        "layer", "slice", "step", "full scale", "largest sum", "clipped", "error rms", "error mean"
    )
    for found in adc_report(mapping, images, workload.network.timesteps):
        sign = "" if found.plane.sign > 0 else "−"
        table.add_row(
            found.layer, f"{sign}2^{found.plane.shift}", f"{found.step_levels:g}",
            f"{found.full_scale_levels:g}", str(found.largest_levels),
            f"{100 * found.clipped:.3f} %", f"{found.error_rms_levels:.3f}",
            f"{found.error_mean_levels:+.3f}",
        )  # fmt: skip
    out.print(
        f"{workload.name} on {chip.name}: {chip.adc.bits}-bit converters, range {chip.adc.range}, "
        f"{counted(len(images), 'calibration image')}\n"
    )
    out.print(table)
    out.print(
        "\nsteps, sums and errors in cell levels, with ideal cells; slice: what a level is worth"
        "\nclipped: share of the conversions beyond the largest code"
        "\nerror: code × step − sum, over all conversions"
    )
