"""What a run says in a terminal. Words and numbers only; everything comes from the run
directory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from rich.console import Console
from rich.table import Table

from imcsim.report.edp import EdpCurve
from imcsim.results import Run
from imcsim.units import eng

_BAR = 24
_WIDTH = 10_000
_SHORT = 8
"""Up to so many timesteps, each one is listed."""

_LABELS = {
    "adc": "ADCs",
    "column_mux": "column multiplexers",
    "crossbar": "crossbars",
    "htree": "H-trees (wires in tiles)",
    "image_load": "loading the image",
    "input_switch": "input switches",
    "lif": "LIF neurons",
    "noc": "NoC (mesh between tiles)",
    "shift_add": "shift-and-add",
    "sigma_e": "σ-E (exit decisions)",
}
"""Names of components that ``_`` → space does not make readable."""


class _PlainConsole(Console):
    """Leaves no spaces at the ends of lines, so that output can be pasted and compared."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        lines = captured.get().split("\n")
        self.file.write("\n".join(line.rstrip(" ") for line in lines))


def console() -> Console:
    """Wide enough for every table: a narrow terminal wraps lines rather than cutting numbers.

    Names of chips, workloads and layers are shown as they are, brackets and colons included.
    """
    return _PlainConsole(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDTH)


def plain_table(*columns: str) -> Table:
    """A table without frames; the first column is text, the others numbers.

    A column without a heading holds bars.
    """
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        is_text = i == 0 or not column
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    return table


def label(component: str) -> str:
    """A component's name for people."""
    return _LABELS.get(component, component.replace("_", " "))


def counted(number: int, noun: str) -> str:
    """``1 tile``, ``1,234 tiles``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bar(share: float) -> str:
    """A bar of `share` (0..1) of the full width."""
    return "█" * round(share * _BAR)


def print_heading(run: Run) -> None:
    """What was run on what."""
    options = run.config["run"]
    console().print(
        f"{options['workload']} on {run.config['arch']['name']}: "
        f"{counted(run.summary['images'], 'image')}, chip seed {options['seed']}, "
        f"exit policy {_policy(options)}{_corrected(run.summary.get('correction'))}\n"
    )


def _corrected(done: dict[str, Any] | None) -> str:
    """What was set anew for this chip."""
    keys = {"channels": "channels", "theta": "θ"}
    names = [name for key, name in keys.items() if done is not None and done[key] is not None]
    if done is None or not names:
        return ""
    return f", {' and '.join(names)} set on {counted(done['images'], 'calibration image')}"


def print_summary(run: Run) -> None:
    """Static against dynamic, histogram of T̂, energy by component, where the time goes."""
    out, options, summary = console(), run.config["run"], run.summary
    layers = run.layers().to_dict("records")  # read before anything is printed: it may be damaged
    print_heading(run)
    _print_comparison(out, summary, options)
    _print_histogram(out, summary)
    _print_energy(out, summary)
    _print_time(out, run, layers)


def _policy(options: dict[str, Any]) -> str:
    name = str(options["policy"])
    if name == "oracle":
        return "oracle (the first right prediction)"
    if name == "static":
        return "static (never early)"
    theta = ", ".join(f"{value:.4g}" for value in options["theta"])
    by_timestep = " (by timestep)" if len(options["theta"]) > 1 else ""
    return f"{name} {'<' if name == 'entropy' else '>'} {theta}{by_timestep}"


_ROWS = (
    ("accuracy", "accuracy", "%"),
    ("timesteps per image", "timesteps_mean", ""),
    ("energy per image", "energy_j", "J"),
    ("latency per image", "latency_s", "s"),
    ("EDP per image", "edp_js", "J·s"),
)


def _print_comparison(out: Console, summary: dict[str, Any], options: dict[str, Any]) -> None:
    static = summary["static"]
    shown = [("dynamic", summary)]
    if static is not None:
        shown.insert(0, (f"static, T = {options['timesteps']}", static))
    table = plain_table(
        "means over images", *(name for name, _ in shown), *(["dynamic / static"] if static else [])
    )
    for name, key, unit in _ROWS:
        ratio = [_ratio(key, summary[key], static[key])] if static else []
        table.add_row(name, *(_value(outcome[key], unit) for _, outcome in shown), *ratio)
    means = [outcome["energy_j"] * outcome["latency_s"] for _, outcome in shown]
    ratio = [f"{means[-1] / means[0]:.3f}"] if static else []
    table.add_row("mean energy × mean latency", *(eng(value, "J·s") for value in means), *ratio)
    out.print(table)
    both = "static: every image takes all timesteps; " if static else ""
    out.print(
        f"\n{both}dynamic: an image exits as soon as the policy lets it"
        "\nEDP: energy-delay product, each image's energy × its latency"
    )
    if static is None:
        out.print("no static baseline: with --no-static, images were not simulated past their exit")
    out.print(
        f"{counted(summary['crossbars'], 'crossbar')} on {counted(summary['tiles'], 'tile')} hold "
        f"the weights; the chip has {eng(summary['area_m2'], 'm2')}\n"
    )


def _ratio(key: str, dynamic: float, static: float) -> str:
    if key == "accuracy":
        return f"{100 * (dynamic - static):+.2f} points"
    return f"{dynamic / static:.3f}"


def _value(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.2f} %"
    return eng(value, unit) if unit else f"{value:.3f}"


def _print_histogram(out: Console, summary: dict[str, Any]) -> None:
    table = plain_table("timesteps taken (T̂)", "images", "share", "")
    histogram = summary["timesteps_histogram"]
    left_out = histogram.count(0) if len(histogram) > _SHORT else 0
    for t, number in enumerate(histogram, 1):
        if left_out and not number:
            continue
        share = number / summary["images"]
        table.add_row(f"T̂ = {t}", f"{number:,}", f"{100 * share:.1f} %", bar(share))
    out.print(table)
    if left_out:
        out.print(f"{counted(left_out, 'row')} without images left out")
    out.print()


def _print_energy(out: Console, summary: dict[str, Any]) -> None:
    static = summary["static"]
    names = ("static", "dynamic") if static else ("dynamic",)
    table = plain_table("energy by component", *names, "share", "")
    by_component = summary["energy_by_component_j"]
    for name in sorted(by_component, key=by_component.__getitem__, reverse=True):
        share = by_component[name] / summary["energy_j"]
        cells = [eng(by_component[name], "J")]
        if static:
            cells.insert(0, eng(static["energy_by_component_j"][name], "J"))
        table.add_row(label(name), *cells, f"{100 * share:.2f} %", bar(share))
    totals = [eng(outcome["energy_j"], "J") for outcome in (static, summary) if outcome]
    table.add_row("total", *totals, "100.00 %", "")
    out.print(table)
    out.print()


def _print_time(out: Console, run: Run, layers: list[dict[Hashable, Any]]) -> None:
    clock, cycles = run.summary["clock_hz"], run.steps["cycles"][0].tolist()
    first = f"{cycles[0]:,} cycles ({eng(cycles[0] / clock, 's')} at {eng(clock, 'Hz')})"
    later = f", each later one {cycles[-1]:,}" if cycles[-1] != cycles[0] else ""
    out.print(
        f"{'the first' if later else 'one'} timestep takes {first}{later}; loading an image "
        f"{int(run.steps['once_cycles']):,}, an exit decision {int(run.steps['sigma_e_cycles']):,}"
    )
    table = plain_table("where the time goes", "first cycle", "last cycle", "bound by", "busy", "")
    total = max(*(int(row["last_cycle"]) for row in layers), 1)
    for row in layers:
        table.add_row(
            row["layer"], f"{row['first_cycle']:,}", f"{row['last_cycle']:,}",
            label(row["bound_by"]).partition(" (")[0], f"{100 * row['occupancy']:.0f} %",
            _lane(row["first_cycle"] / total, row["last_cycle"] / total),
        )  # fmt: skip
    out.print(table)
    out.print("busy: share of the layer's span in which the resource that bounds it works")


def _lane(first: float, last: float) -> str:
    """A time axis of the full width; a layer is never too short to be seen."""
    start = min(int(first * _BAR), _BAR - 1)
    end = max(round(last * _BAR), start + 1)
    return "".join("█" if start <= i < end else "·" for i in range(_BAR))


def print_layers(run: Run) -> None:
    """One row per layer."""
    out = console()
    table = plain_table(
        "layer", "kind", "crossbars", "tiles", "input bits", "reads per timestep", "used cells",
        "firing rate", "energy per image", "saturations", "ADC step",
    )  # fmt: skip
    for row in run.layers().to_dict("records"):
        on_crossbars = row["crossbars"] > 0
        table.add_row(
            row["layer"], row["kind"].replace("_", " "), f"{row['crossbars']:,}",
            f"{row['tiles']:,}", str(row["input_bits"]), f"{row['reads_per_timestep']:,}",
            f"{100 * row['utilisation']:.1f} %" if on_crossbars else "",
            f"{100 * row['firing_rate']:.1f} %" if row["neurons"] else "",
            eng(row["energy_j"], "J"), f"{row['saturations']:,}", row["adc_step_levels"],
        )  # fmt: skip
    out.print(table)
    out.print(
        "\nused cells: share of the cells of the layer's crossbars that hold weights"
        "\nfiring rate: spikes per neuron and timestep of the dynamic run"
        "\nenergy: mean over images of the dynamic run, without leakage and exit decisions"
        "\nsaturations: membrane potentials clipped to their width, all images of the dynamic run"
        "\nADC step: cell levels per ADC code, for each slice of the weights\n"
    )


def print_components(run: Run) -> None:
    """Energy by component, static and dynamic."""
    _print_energy(console(), run.summary)


def print_edp(curve: EdpCurve) -> None:
    """The points of the curve."""
    out = console()
    borrowed = (
        f"; exit policy {curve.without_threshold} has no threshold, the curve is {curve.policy}'s"
        if curve.without_threshold
        else ""
    )
    out.print(
        f"{curve.name}: accuracy against EDP (energy-delay product), means over images{borrowed}\n"
    )
    many = len(curve.static) > _SHORT
    table = plain_table(
        "", "timesteps", "accuracy", "energy", "latency", "EDP", "relative EDP", "of means",
        "T̂: least, median, most" if many else "images by T̂",
    )  # fmt: skip
    for name, points in (("static", curve.static), (curve.policy, curve.dynamic)):
        for p in points:
            table.add_row(
                f"{name} {p.label}{' (this run)' if p.this_run else ''}",
                f"{p.timesteps_mean:.3f}", f"{100 * p.accuracy:.2f} %",
                eng(p.energy_j, "J"), eng(p.latency_s, "s"), eng(p.edp_js, "J·s"),
                f"{curve.normalised(p):.3f}",
                f"{p.edp_of_means_js / curve.static[0].edp_js:.3f}",
                _spread(p.timesteps_histogram, many),
            )  # fmt: skip
        if points is curve.static:
            table.add_row()
    out.print(table)
    out.print(
        "\nrelative EDP: the unit is the static network with one timestep"
        "\nof means: mean energy × mean latency instead of the mean of their products"
        + (
            "\nT̂: timesteps that an image took"
            if many
            else f"\nimages by T̂: how many took 1, 2, ... {len(curve.static)} timesteps"
        )
    )


def _spread(histogram: tuple[int, ...], many: bool) -> str:
    """Images by T̂; of many timesteps, the smallest, the (lower) median and the largest T̂."""
    if not many:
        return " ".join(str(count) for count in histogram)
    taken = [t for t, count in enumerate(histogram, 1) if count]
    images, median = 0, 0
    while 2 * images < sum(histogram):
        images += histogram[median]
        median += 1
    return f"{taken[0]} {median} {taken[-1]}"
