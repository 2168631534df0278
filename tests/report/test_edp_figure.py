"""The picture of the curve: two files, the same bytes every time."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.image import imread

from imcsim.errors import ImcsimError
from imcsim.report.edp import EdpCurve, Point, curve_of
from imcsim.report.edp_figure import chosen_for_pies, write_figures
from imcsim.results import Run

SVG = "{http://www.w3.org/2000/svg}"


def svg_words(path: Path) -> str:
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return "\n".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))


def point(timesteps: int, t: int, theta: float | None = None) -> Point:
    histogram = tuple(int(i == t) for i in range(1, timesteps + 1))
    return Point(f"T = {t}", theta, t, histogram, 0.5, 1e-9 * t, 1e-6 * t, 1e-15 * t**2, 1e-15 * t)


def test_a_png_and_an_svg_are_drawn_the_same_each_time(run: Run, tmp_path: Path) -> None:
    curve = curve_of(run, 6)
    first = write_figures(curve, tmp_path / "new" / "a")
    # Somebody's settings must not change the picture, nor may the picture change the settings.
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20}):
        second = write_figures(curve, tmp_path / "b")
        assert mpl.rcParams["lines.linewidth"] == 9
    assert [path.name for path in first] == ["edp.png", "edp.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_files_are_what_their_names_say(run: Run, tmp_path: Path) -> None:
    png, svg = write_figures(curve_of(run, 6), tmp_path)
    height, width, _ = imread(png).shape
    assert height > 500
    assert width > 500
    words = svg_words(svg)
    for wanted in (
        "T = 1",
        "T = 4",
        "static",
        "dynamic (entropy)",
        "accuracy [%]",
        "mean T̂",
        "this run",
    ):
        assert wanted in words


@pytest.mark.parametrize("timesteps", [1, 2, 8, 40])
def test_any_number_of_timesteps_can_be_drawn(timesteps: int, tmp_path: Path) -> None:
    static = tuple(point(timesteps, t) for t in range(1, timesteps + 1))
    dynamic = tuple(dataclasses.replace(p, theta=0.5, label="θ") for p in static)
    _, svg = write_figures(EdpCurve("run", "entropy", static, dynamic), tmp_path)
    words = svg_words(svg)
    assert f"T = {timesteps}" in words
    assert f"T̂ = {timesteps}" in words
    assert words.count("T̂ = ") <= 8 + 3


def test_pies_show_points_between_the_extremes() -> None:
    points = [point(9, t, theta=0.5) for t in range(1, 10)]
    chosen = chosen_for_pies(tuple(points))
    assert [p.timesteps_mean for p in chosen] == [2, 5, 8]
    assert chosen_for_pies(tuple(points[:2])) == points[:2]
    assert chosen_for_pies(tuple(points[:1])) == points[:1]


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImcsimError, match="file: cannot be written") as caught:
        write_figures(curve_of(run, 2), tmp_path / "file")
    assert caught.value.exit_code == 1
