"""``imcsim report``: look at finished runs."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("report", short_help="Look at a finished run.")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option(
    "--edp",
    is_flag=True,
    help="Accuracy against EDP (energy-delay product), static and dynamic; draws edp.png and "
    "edp.svg.",
)
@click.option("--layers", is_flag=True, help="One row per layer.")
@click.option("--components", is_flag=True, help="Energy by component.")
@click.option(
    "--points",
    type=click.IntRange(2, 1000),
    default=12,
    show_default=True,
    help="Thresholds of the EDP curve.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the pictures of --edp (default: the run directory).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per run: summary or EDP curve."
)
def report_command(
    runs: tuple[Path, ...],
    edp: bool,
    layers: bool,
    components: bool,
    points: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Report RUN directories; without RUN, the newest one under runs/.

    \b
    imcsim report
    imcsim report --edp
    """
    if out is not None and not edp:
        raise click.UsageError("--out is the folder for the pictures of --edp")
    if out is not None and len(runs) > 1:
        raise click.UsageError("--out takes the pictures of one run, not of several")
    if as_json and (layers or components):
        raise click.UsageError("--json prints the summary or, with --edp, the curve")
    from imcsim.report.edp import curve_of
    from imcsim.report.edp_figure import write_figures
    from imcsim.report.terminal import (
        print_components,
        print_edp,
        print_heading,
        print_layers,
        print_summary,
    )
    from imcsim.results import newest_run, read_run
    from imcsim.results.provenance import default_parent

    if not runs:
        runs = (newest_run(default_parent()),)
        click.echo(f"run directory: {runs[0]}", err=True)
    for i, directory in enumerate(runs):
        run = read_run(directory)
        curve = curve_of(run, points) if edp else None
        if as_json:
            click.echo(json.dumps(curve.as_json() if curve else run.summary, allow_nan=False))
        else:
            if i:
                click.echo()
            if not (edp or layers or components):
                print_summary(run)
            if layers or components:
                print_heading(run)
            if layers:
                print_layers(run)
            if components:
                print_components(run)
            if curve:
                print_edp(curve)
        if curve:
            # After the table, which needs no folder to write to.
            written = write_figures(curve, out or directory)
            click.echo(f"\ndrawn: {', '.join(str(path) for path in written)}", err=True)
