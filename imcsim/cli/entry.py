"""Entry point: the command group, and how errors become exit codes.

Data goes to stdout, words to stderr. 0 ok, 1 the run failed, 2 wrong use, 3 wrong input file, 4
does not fit the chip.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module

import click

import imcsim
from imcsim.errors import ImcsimError

_COMMANDS = {
    "run": ("imcsim.cli.run", "run_command"),
    "report": ("imcsim.cli.report", "report_command"),
    "inspect": ("imcsim.cli.inspect", "inspect_command"),
}

CITATION = """\
@inproceedings{li2023dtsnn,
  author    = {Li, Yuhang and Moitra, Abhishek and Geller, Tamar and Panda, Priyadarshini},
  title     = {Input-Aware Dynamic Timestep Spiking Neural Networks for Efficient In-Memory
               Computing},
  booktitle = {Design Automation Conference (DAC)},
  year      = {2023}
}"""


class _LazyGroup(click.Group):
    """Imports a command's module when it is called or listed; none of them imports Numba at the
    top."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command


def _cite(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(CITATION)
        ctx.exit()


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(imcsim.__version__, prog_name="imcsim")
@click.option(
    "--cite",
    is_flag=True,
    callback=_cite,
    expose_value=False,
    is_eager=True,
    help="Print the paper as BibTeX.",
)
def cli() -> None:
    """Simulate spiking neural networks on an in-memory-computing chip, cycle by cycle.

    \b
    imcsim run arch/rram64.yaml workloads/vgg16_cifar10.npz
    imcsim report --edp
    imcsim inspect arch/rram64.yaml workloads/vgg16_cifar10.npz
    """


def main() -> None:
    """Run the command line; never shows a traceback for a user's mistake, always for a bug."""
    # A terminal that knows no µ or θ shows a question mark instead of a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        cli()
    except ImcsimError as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            click.echo(f"imcsim: error: {line}", err=True)
        sys.exit(error.exit_code)
    except MemoryError:
        click.echo(
            "imcsim: error: out of memory (use fewer --images or a smaller --memory)", err=True
        )
        sys.exit(ImcsimError.exit_code)
