"""``imcsim inspect``: what is in a file, and what maps to what, before running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imcsim.chip import Chip
    from imcsim.network import Workload


@click.command("inspect", short_help="Show what is in an arch or a workload, and how they fit.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE [FILE]"
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the architecture.",
)
@click.option(
    "--adc",
    "converters",
    is_flag=True,
    help="With both files: what the ADCs make of the calibration images.",
)
def inspect_command(files: tuple[Path, ...], overrides: tuple[str, ...], converters: bool) -> None:
    """Show an architecture, a workload, or with both the mapping of the one onto the other.

    \b
    imcsim inspect arch/rram64.yaml
    imcsim inspect workloads/vgg16_cifar10.npz
    imcsim inspect arch/rram64.yaml workloads/vgg16_cifar10.npz
    imcsim inspect arch/rram64.yaml workloads/digits.npz --adc --set adc.bits=6
    """
    from imcsim.chip import load_chip
    from imcsim.network import read_workload
    from imcsim.report.inspection import print_adc, print_chip, print_mapping, print_workload

    chip: Chip | None = None
    workload: Workload | None = None
    for file in files:
        if is_workload(file):
            if workload is not None:
                raise click.UsageError("give one workload at a time")
            workload = read_workload(file)
        else:
            if chip is not None:
                raise click.UsageError("give one architecture at a time")
            chip = load_chip(file, overrides)
    if overrides and chip is None:
        raise click.UsageError("--set changes an architecture, and none is given")
    if converters and (chip is None or workload is None):
        raise click.UsageError("--adc needs an architecture and a workload")
    if chip is not None and workload is not None and converters:
        print_adc(chip, workload)
    elif chip is not None and workload is not None:
        print_mapping(chip, workload)
    elif workload is not None:
        print_workload(workload)
    elif chip is not None:
        print_chip(chip)


def is_workload(file: Path) -> bool:
    """By its first bytes, or by its name if it cannot be opened (the reader then says why)."""
    try:
        with file.open("rb") as opened:
            return opened.read(2) == b"PK" or file.suffix == ".npz"
    except OSError:
        return file.suffix == ".npz"
