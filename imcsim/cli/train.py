"""``imcsim train``: train a network and export it as a workload."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imcsim.errors import ImcsimError

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("train", short_help="Train a network and export it as a workload.")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with the data set that the recipe names; nothing is downloaded.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Workload to write (.npz); checkpoint, log and learning curves stand beside it.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the checkpoint of a training that was stopped."
)
@click.option(
    "--start-from",
    type=click.Path(path_type=Path),
    help="Begin with the weights of another training's checkpoint.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Also calibrate θ for the accuracy of this workload after all its timesteps.",
)
@click.option(
    "--device",
    type=click.Choice(("auto", "cpu", "cuda")),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU if there is one.",
)
@click.option(
    "--stop-after",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Stop after the epoch in which this time is over; go on later with --resume.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, e.g. network.width=0.25 or stages.0.epochs=3.",
)
def train_command(recipe: Path, out: Path, **given: Any) -> None:
    """Train the network of RECIPE, quantise it and write a workload.

    Epochs and exit thresholds are chosen on training images that are held out; test images are
    only looked at when everything is decided. Prints the accuracies of the float and of the
    integer network. Needs PyTorch: pip install "imcsim[train]".

    \b
    imcsim train workloads/recipes/mnist.yaml --data DIR --out mnist.npz
    imcsim train workloads/recipes/vgg16_cifar10.yaml --data DIR --out vgg16.npz --resume
    """
    from imcsim.cli.progress import StageProgress
    from imcsim.training.load_recipe import load_recipe

    plan = load_recipe(recipe, given["overrides"])
    if importlib.util.find_spec("torch") is None:
        raise ImcsimError('training needs PyTorch: pip install "imcsim[train]"')
    from imcsim.training.export import summary
    from imcsim.training.run import train

    minutes = given["stop_after"]
    with StageProgress() as progress:
        workload = train(
            plan,
            given["folder"],
            out,
            resume=given["resume"],
            start_from=given["start_from"],
            baseline=given["baseline"],
            device=given["device"],
            stop_after_s=None if minutes is None else 60 * minutes,
            provenance={"made_by": f"imcsim train {recipe.name}"},
            progress=progress,
            on_epoch=_teller(len(plan.stages)),
        )
    if workload is None:
        click.echo(f"stopped; go on with --resume ({out.with_suffix('.checkpoint.pt')})", err=True)
        return
    for line in summary(workload):
        click.echo(line)


def _teller(stages: int) -> Callable[[dict[str, Any]], None]:
    def tell(row: dict[str, Any]) -> None:
        """One line per finished epoch, on stderr, above the progress bar."""
        accuracies = [value for key, value in row.items() if key.startswith("held_out")]
        shown = " ".join(f"{100 * value:.2f}" for value in accuracies)
        click.echo(
            f"stage {row['stage']}/{stages} epoch {row['epoch']}: loss {row['loss']:.4f}, "
            f"held out {shown} % at t = 1..{len(accuracies)}, {row['seconds']:.1f} s",
            err=True,
        )

    return tell
