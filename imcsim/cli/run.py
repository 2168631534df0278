"""``imcsim run``: simulate a workload on a chip."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imcsim.cli.inspect import is_workload
from imcsim.errors import UsageError

if TYPE_CHECKING:
    from imcsim.functional.verify import Verification
    from imcsim.simulator import RunOptions

    ThetaBase = click.ParamType[tuple[float, ...]]
    BytesBase = click.ParamType[int]
else:  # not generic before click 8.2
    ThetaBase = BytesBase = click.ParamType

POLICIES = ("static", "entropy", "confidence", "margin", "oracle")
"""Those of `imcsim.functional.exits`, written again so that ``--help`` need not import numpy."""


class ThetaType(ThetaBase):
    """One threshold, or one per timestep, separated by commas."""

    name = "X[,X...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, nor numbers separated by commas", param, ctx)


class BytesType(BytesBase):
    """A number of bytes, with K, M or G for powers of 1024 (also KB, KiB, ...)."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = value.upper().removesuffix("IB").removesuffix("B")
        scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        try:
            return int(float(text if scale == 1 else text[:-1]) * scale)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a number of bytes, such as 500M or 2G", param, ctx)


@click.command("run", short_help="Simulate a workload on a chip.")
@click.argument("arch", type=click.Path(path_type=Path))
@click.argument("workload", type=click.Path(path_type=Path))
@click.option("--images", type=int, help="Evaluate the first N images (default: 256).")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Evaluate these images instead of the workload's: an .npz with images uint8 (n,c,h,w) and "
    "integer labels, or CIFAR-10 files.",
)
@click.option(
    "--timesteps",
    type=int,
    help="T: timesteps of the static baseline and limit of the dynamic run (default: the "
    "workload's).",
)
@click.option(
    "--exit", "policy", type=click.Choice(POLICIES), help="Exit policy (default: the workload's)."
)
@click.option(
    "--theta",
    type=ThetaType(),
    help="Threshold of the exit policy, one or one per timestep (default: the workload's, or with "
    "correction.theta one found on this chip).",
)
@click.option(
    "--no-static",
    is_flag=True,
    help="Stop simulating an image when it exits; there is no static baseline then.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Chip instance: seeds the device variation.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the architecture, e.g. adc.bits=5 or correction.channels=true.",
)
@click.option(
    "--jobs", type=int, help="Worker threads (default: all processors). Never changes a result."
)
@click.option(
    "--memory",
    type=BytesType(),
    default="1G",
    show_default=True,
    help="Working memory of all batches. Never changes a result.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Run directory (default: a new one under runs/); an older run there is replaced.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="First compare an ideal copy of the chip with the numpy reference, bit for bit.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run_command(arch: Path, workload: Path, as_json: bool, **given: Any) -> None:
    """Run WORKLOAD on the chip described by ARCH.

    Prints accuracy, timesteps, energy, latency, EDP (energy-delay product) and area of the dynamic
    network beside the static one, and writes a run directory for `imcsim report`.

    \b
    imcsim run arch/rram64.yaml workloads/vgg16_cifar10.npz
    imcsim run arch/rram64.yaml workloads/digits.npz --set adc.bits=5
    imcsim run arch/rram64.yaml workloads/digits.npz --exit margin --theta 3
    """
    started = time.perf_counter()
    from imcsim.chip import load_chip
    from imcsim.cli.progress import StageProgress
    from imcsim.network import read_workload
    from imcsim.network.datasets import read_images
    from imcsim.results import check_target, write_run
    from imcsim.results.provenance import command_line, default_parent, provenance_of, run_name
    from imcsim.simulator import run

    if is_workload(arch):
        raise UsageError(f"{arch}: this looks like a workload; the order is ARCH WORKLOAD")
    chip = load_chip(arch, given["overrides"])
    network = read_workload(workload)
    directory = given["out"] or default_parent() / run_name(chip, network)
    check_target(directory)
    data = read_images(given["data"]) if given["data"] else None
    with StageProgress() as progress:
        result = run(chip, network, _options(given), data, progress)
        progress.stage("writing the run directory")
        wall_s = time.perf_counter() - started
        written = write_run(
            directory, result, provenance_of(chip, network, command_line(), wall_s, result.seed)
        )
    if result.verification is not None:
        click.echo(_verified(result.verification), err=True)
    if as_json:
        said = {**result.summary(), "run_dir": str(directory), "wall_s": wall_s}
        click.echo(json.dumps(said, allow_nan=False))
        return
    from imcsim.report.terminal import print_summary

    print_summary(written)
    click.echo(f"\n{wall_s:.1f} s; run directory: {directory}", err=True)


def _verified(found: Verification) -> str:
    return (
        f"verified: {found.values:,} outputs of {found.layers} layers ({found.images} images, "
        f"{found.timesteps} timesteps) equal the numpy reference\n"
    )


def _options(given: dict[str, Any]) -> RunOptions:
    from imcsim.simulator import RunOptions

    return RunOptions(
        images=given["images"],
        timesteps=given["timesteps"],
        policy=given["policy"],
        theta=given["theta"],
        static=not given["no_static"],
        seed=given["seed"],
        jobs=given["jobs"],
        memory_bytes=given["memory"],
        verify=given["verify"],
    )
