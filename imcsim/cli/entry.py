"""Entry point: the command group, and how errors become exit codes.

Data goes to stdout, words to stderr. 0 ok, 1 the run failed, 2 wrong use, 3 wrong input file, 4
does not fit the chip.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO, cast

import click

import imcsim
from imcsim.errors import ImcsimError

_COMMANDS = {
    "run": ("imcsim.cli.run", "run_command"),
    "report": ("imcsim.cli.report", "report_command"),
    "inspect": ("imcsim.cli.inspect", "inspect_command"),
    "train": ("imcsim.cli.train", "train_command"),
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


class _Watched:
    """Standard output that remembers why it could not be written: an OSError from elsewhere is a
    bug."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.fault: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as exc:
            self.fault = exc
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as exc:
            self.fault = exc
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main() -> None:
    """Run the command line; never shows a traceback for a user's mistake, always for a bug."""
    stdout = sys.stdout
    if stdout is None:  # closed by the shell (>&-): there is nobody to tell
        sys.exit(_call())
    # A terminal that knows no µ or θ shows a question mark instead of a traceback.
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")
    watched = _Watched(stdout)
    sys.stdout = cast(TextIO, watched)
    try:
        code = _call()
        watched.flush()
    except OSError:
        if watched.fault is None:
            raise
    finally:
        sys.stdout = stdout
    if watched.fault is not None:
        code = ImcsimError.exit_code
        _say_unwritable(watched.fault)
        _drop(stdout)
    sys.exit(code)


def _call() -> int | str | None:
    """Run the command and return its exit code."""
    try:
        cli()
    except SystemExit as stop:
        return stop.code
    except ImcsimError as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            click.echo(f"imcsim: error: {line}", err=True)
        return error.exit_code
    except MemoryError:
        click.echo(
            "imcsim: error: out of memory (use fewer --images or a smaller --memory)", err=True
        )
        return ImcsimError.exit_code
    return 0


def _say_unwritable(fault: OSError) -> None:
    if fault.errno == errno.EPIPE:  # a reader that has seen enough is no error
        return
    reason = fault.strerror or fault
    click.echo(f"imcsim: error: cannot write to standard output ({reason})", err=True)


def _drop(stdout: TextIO) -> None:
    """Let the interpreter's own flush at exit succeed; it would complain a second time."""
    # A stream without a file descriptor has nothing to flush to.
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
