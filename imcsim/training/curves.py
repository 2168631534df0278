"""The learning curves of a training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.errors import ImcsimError
from imcsim.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_LOSS, _FIRST, _LAST = "#000000", "#E69F00", "#0072B2"


def write_curves(path: Path, log: list[dict[str, Any]], recipe: Recipe) -> None:
    """Draw loss and held-out accuracy over all epochs; equal logs give equal bytes.

    Raises
    ------
    ImcsimError
        If the file cannot be written.
    """
    try:
        draw_curves(log, recipe).savefig(path, dpi=120, metadata={"Software": None})
    except OSError as exc:
        raise ImcsimError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


def draw_curves(log: list[dict[str, Any]], recipe: Recipe) -> Figure:
    """Loss on the left axis, held-out accuracy after the first and the last timestep on the
    right.
    """
    from matplotlib.figure import Figure

    epochs = range(1, len(log) + 1)
    last = recipe.network.timesteps
    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    left.plot(epochs, [row["loss"] for row in log], color=_LOSS, label="training loss")
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    right = left.twinx()
    for t, colour in ((1, _FIRST), (last, _LAST)):
        accuracy = [100 * row[f"held_out_accuracy_t{t}"] for row in log]
        right.plot(epochs, accuracy, color=colour, label=f"held out, t = {t}")
    right.set_ylabel("accuracy [%]")
    for k in range(1, len(log)):
        if log[k]["stage"] != log[k - 1]["stage"]:
            left.axvline(k + 0.5, color="#999999", linewidth=0.8, linestyle=":")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    left.set_title(recipe.name, loc="left", fontsize="medium")
    return figure
