"""Fig. 5 of Li et al., DAC 2023, for any run: accuracy against EDP, and how many timesteps images
take."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imcsim.errors import ImcsimError
from imcsim.report.edp import EdpCurve, Point
from imcsim.results.run_directory import EDP_FIGURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

# Okabe and Ito's palette: distinguishable with any colour vision.
STATIC_COLOUR, DYNAMIC_COLOUR = "#CC79A7", "#0072B2"
PIE_COLOURS = (
    "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#999999",
)  # fmt: skip
PIES = 3


def write_figures(curve: EdpCurve, folder: Path) -> tuple[Path, ...]:
    """Draw the curve to ``edp.png`` and ``edp.svg``; equal curves give equal bytes.

    Raises
    ------
    ImcsimError
        If the folder cannot be written.
    """
    import matplotlib as mpl

    paths = tuple(folder / name for name in EDP_FIGURES)
    with mpl.rc_context():
        mpl.rcdefaults()  # somebody's matplotlibrc must not change a picture
        mpl.rcParams.update({"svg.hashsalt": "imcsim", "svg.fonttype": "none"})
        pictures = _drawn(curve)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, picture in zip(paths, pictures, strict=True):
            path.write_bytes(picture)
    except OSError as exc:
        raise ImcsimError(
            f"{folder}: cannot be written ({exc.strerror or exc}); choose another folder for the "
            "pictures with --out"
        ) from exc
    return paths


def _drawn(curve: EdpCurve) -> tuple[bytes, bytes]:
    """The PNG and the SVG file; neither holds a date or a version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 3))
    _draw_pies(curve, parts[0])
    _draw_curve(curve, parts[1].add_subplot())
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "imcsim"})
    return png.getvalue(), svg.getvalue()


def _draw_curve(curve: EdpCurve, axes: Axes) -> None:
    for points, colour, name in (
        (curve.static, STATIC_COLOUR, "static"),
        (curve.dynamic, DYNAMIC_COLOUR, f"dynamic ({curve.policy})"),
    ):
        axes.plot(
            [curve.normalised(p) for p in points], [100 * p.accuracy for p in points],
            color=colour, marker="o", markersize=4, label=name,
        )  # fmt: skip
    for t in _marked(len(curve.static)):
        point = curve.static[t - 1]
        axes.annotate(
            point.label, (curve.normalised(point), 100 * point.accuracy),
            textcoords="offset points", xytext=(6, -12), color=STATIC_COLOUR,
        )  # fmt: skip
    for point in (p for p in curve.dynamic if p.this_run):
        axes.plot(
            [curve.normalised(point)], [100 * point.accuracy], linestyle="none", marker="o",
            markersize=10, markerfacecolor="none", markeredgecolor="black", label="this run",
        )  # fmt: skip
    # Room on the right for the label of the last static point.
    axes.set_xlim(0, 1.12 * max(curve.normalised(p) for p in (*curve.static, *curve.dynamic)))
    axes.set_xlabel("EDP, relative to one static timestep")
    axes.set_ylabel("accuracy [%]")
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def chosen_for_pies(points: tuple[Point, ...]) -> list[Point]:
    """Points between the extremes, where all images take one or all timesteps, if there are any."""
    between = points[1:-1] or points
    picked = np.unique(np.linspace(0, len(between) - 1, PIES).round().astype(int))
    return [between[i] for i in picked]


def _draw_pies(curve: EdpCurve, figure: SubFigure) -> None:
    from matplotlib.patches import Patch

    colours = _colours(len(curve.static))
    points = chosen_for_pies(curve.dynamic)
    axes: Any = figure.subplots(1, len(points) + 1, squeeze=False)[0]
    for pie, point in zip(axes, points, strict=False):
        pie.pie(point.timesteps_histogram, colors=colours, startangle=90, counterclock=False)
        pie.set_title(f"{point.label}\nmean T̂ = {point.timesteps_mean:.2f}", fontsize=8)
    axes[-1].axis("off")
    axes[-1].legend(
        handles=[
            Patch(color=colours[t - 1], label=f"T̂ = {t}") for t in _marked(len(colours))
        ],
        loc="center", fontsize=8, ncols=1 if len(colours) <= 4 else 2, title="images with",
        title_fontsize=8,
    )  # fmt: skip


def _marked(timesteps: int) -> list[int]:
    """Numbers of timesteps that are written out: all, or eight spread over them."""
    picked = np.linspace(1, timesteps, min(timesteps, len(PIE_COLOURS)))
    return [int(t) for t in np.unique(picked.round())]


def _colours(timesteps: int) -> list[Any]:
    """One colour per number of timesteps; a scale where there are more than can be told apart."""
    import matplotlib as mpl

    if timesteps <= len(PIE_COLOURS):
        return list(PIE_COLOURS[:timesteps])
    return list(mpl.colormaps["viridis"](np.linspace(0, 1, timesteps)))
