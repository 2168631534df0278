"""What is said in a terminal: every number is there, nothing is cut, nothing trails."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from imcsim.energy import COMPONENTS
from imcsim.report import terminal
from imcsim.report.edp import curve_of
from imcsim.results import Run, read_run, write_run
from imcsim.units import eng
from tests.simulator.digits import IMAGES, result


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call a printing function and return its lines."""

    def call(function: Any, *arguments: Any) -> list[str]:
        function(*arguments)
        out, err = capsys.readouterr()
        assert err == ""
        lines: list[str] = out.split("\n")
        assert [line for line in lines if line != line.rstrip()] == []
        return lines

    return call


def cells(lines: list[str], first: str) -> list[str]:
    """The cells of the one row that begins with `first`."""
    (line,) = (line for line in lines if line.startswith(first))
    return re.split(r" {2,}", line)


def with_options(run: Run, **options: Any) -> Run:
    config = run.config | {"run": run.config["run"] | options}
    return dataclasses.replace(run, config=config)


def test_the_summary_sets_static_beside_dynamic(run: Run, said: Any) -> None:
    lines, summary, static = said(terminal.print_summary, run), run.summary, run.summary["static"]
    assert lines[0].startswith(f"digits on rram64: {IMAGES} images, chip seed 0, exit policy")
    for first, key, unit in (
        ("energy per image", "energy_j", "J"),
        ("latency per image", "latency_s", "s"),
        ("EDP per image", "edp_js", "J·s"),
    ):
        ratio = f"{summary[key] / static[key]:.3f}"
        expected = [eng(static[key], unit), eng(summary[key], unit), ratio]
        assert cells(lines, first)[1:] == expected
    assert cells(lines, "timesteps per image")[1] == "4.000"
    assert cells(lines, "accuracy")[1] == f"{100 * static['accuracy']:.2f} %"
    product = eng(static["energy_j"] * static["latency_s"], "J·s")
    assert cells(lines, "mean energy × mean latency")[1] == product
    assert any(line.startswith("6 crossbars on 3 tiles hold the weights") for line in lines)


def test_the_histogram_counts_images(run: Run, said: Any) -> None:
    lines = said(terminal.print_summary, run)
    for t, count in enumerate(run.summary["timesteps_histogram"], 1):
        row = cells(lines, f"T̂ = {t}")
        assert row[1:3] == [str(count), f"{100 * count / IMAGES:.1f} %"]


def test_components_are_sorted_and_sum_up(run: Run, said: Any) -> None:
    lines = said(terminal.print_components, run)
    summary = run.summary
    assert [line for line in lines if "%" in line][-1].startswith("total")
    assert cells(lines, "total")[1:3] == [
        eng(summary["static"]["energy_j"], "J"),
        eng(summary["energy_j"], "J"),
    ]
    assert cells(lines, "ADCs")[2] == eng(summary["energy_by_component_j"]["adc"], "J")
    rows = [re.split(r" {2,}", line) for line in lines if "%" in line][:-1]
    assert len(rows) == len(COMPONENTS)
    shares = [float(row[3].split()[0]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.1)


def test_the_time_of_a_timestep_and_of_each_layer_is_shown(run: Run, said: Any) -> None:
    lines = said(terminal.print_summary, run)
    cycles = int(run.steps["cycles"][0, 0])
    assert any(line.startswith(f"one timestep takes {cycles:,} cycles (") for line in lines)
    row = cells(lines, "fc")
    assert row[2] == f"{cycles:,}"
    assert set(row[-1]) == {"·", "█"}
    assert len(row[-1]) == 24


def test_timesteps_that_differ_are_both_shown(run: Run, said: Any) -> None:
    cycles = run.steps["cycles"].copy()
    cycles[:, 1:] = 77
    other = dataclasses.replace(run, steps=run.steps | {"cycles": cycles})
    lines = said(terminal.print_summary, other)
    (line,) = (line for line in lines if line.startswith("the first timestep takes"))
    assert ", each later one 77; " in line


def test_without_a_baseline_only_the_dynamic_run_is_shown(stopped: Run, said: Any) -> None:
    lines = said(terminal.print_summary, stopped)
    assert any("no static baseline" in line for line in lines)
    assert cells(lines, "accuracy")[1:] == [f"{100 * stopped.summary['accuracy']:.2f} %"]
    assert cells(lines, "total")[1:] == [eng(stopped.summary["energy_j"], "J"), "100.00 %"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy": "entropy", "theta": [0.25]}, "exit policy entropy < 0.25"),
        ({"policy": "confidence", "theta": [0.9]}, "exit policy confidence > 0.9"),
        ({"policy": "margin", "theta": [1.0, 2.5]}, "exit policy margin > 1, 2.5 (by timestep)"),
        ({"policy": "oracle", "theta": []}, "exit policy oracle (the first right prediction)"),
        ({"policy": "static", "theta": []}, "exit policy static (never early)"),
    ],
)
def test_the_exit_policy_is_written_as_a_rule(
    options: dict[str, Any], words: str, run: Run, said: Any
) -> None:
    assert said(terminal.print_heading, with_options(run, **options))[0].endswith(words)


@pytest.mark.parametrize(
    ("done", "words"),
    [
        ({"channels": {"clipped": 0}, "theta": 0.0}, ", channels and θ set on 1 calibration image"),
        ({"channels": {}, "theta": None}, ", channels set on 1 calibration image"),
        ({"channels": None, "theta": 0.4}, ", θ set on 1 calibration image"),
        ({"channels": None, "theta": None}, ""),
    ],
)
def test_what_was_corrected_on_the_chip_is_said(
    run: Run, said: Any, done: dict[str, Any], words: str
) -> None:
    plain = said(terminal.print_heading, run)[0]
    summary = run.summary | {"correction": {"images": 1, **done}}
    corrected = dataclasses.replace(run, summary=summary)
    assert said(terminal.print_heading, corrected)[0] == plain + words


def test_names_with_brackets_and_colons_are_shown_as_they_are(run: Run, said: Any) -> None:
    odd = with_options(run, workload="net [bold]:smile:[/x]")
    assert said(terminal.print_heading, odd)[0].startswith("net [bold]:smile:[/x] on rram64")


def test_layers_are_shown_with_a_legend(run: Run, said: Any) -> None:
    lines = said(terminal.print_layers, run)
    assert cells(lines, "conv1")[1:6] == ["conv", "1", "1", "8", "512"]
    assert cells(lines, "pool1")[1] == "avg pool"
    for row in run.layers().to_dict("records"):
        assert eng(row["energy_j"], "J") in cells(lines, row["layer"])
    assert any(line.startswith("firing rate: ") for line in lines)


def test_the_curve_is_shown_point_by_point(run: Run, said: Any) -> None:
    curve = curve_of(run, 5)
    lines = said(terminal.print_edp, curve)
    last = curve.static[-1]
    assert cells(lines, "static T = 4")[1:6] == [
        "4.000",
        f"{100 * last.accuracy:.2f} %",
        eng(last.energy_j, "J"),
        eng(last.latency_s, "s"),
        eng(last.edp_js, "J·s"),
    ]
    assert cells(lines, "static T = 4")[-1] == f"0 0 0 {IMAGES}"
    assert sum(line.startswith("entropy θ = ") for line in lines) == len(curve.dynamic)


def test_a_wide_table_is_never_cut(run: Run, said: Any) -> None:
    curve = curve_of(run, 2)
    wide = tuple(range(10_000, 10_100))
    static = tuple(dataclasses.replace(p, timesteps_histogram=wide) for p in curve.static)
    lines = said(terminal.print_edp, dataclasses.replace(curve, static=static))
    assert cells(lines, "static T = 1")[-1] == " ".join(map(str, wide))


def test_one_image_is_not_called_images(said: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "run", result(images=1), {})
    lines = said(terminal.print_heading, read_run(tmp_path / "run"))
    assert lines[0].startswith("digits on rram64: 1 image, ")
    assert terminal.counted(1, "tile") == "1 tile"
    assert terminal.counted(7192, "crossbar") == "7,192 crossbars"


@pytest.mark.parametrize(("share", "blocks"), [(0, 0), (0.5, 12), (1, 24)])
def test_a_bar_is_as_long_as_its_share(share: float, blocks: int) -> None:
    assert terminal.bar(share) == "█" * blocks


@pytest.mark.parametrize(
    ("first", "last", "lane"),
    [
        (0, 1, "█" * 24),
        (0, 0, "█" + "·" * 23),
        (1, 1, "·" * 23 + "█"),
        (0.5, 1, "·" * 12 + "█" * 12),
    ],
)
def test_a_layer_is_never_too_short_to_be_seen(first: float, last: float, lane: str) -> None:
    assert terminal._lane(first, last) == lane


def test_the_run_itself_is_marked_in_the_curve(run: Run, said: Any) -> None:
    lines = said(terminal.print_edp, curve_of(run, 5))
    assert [line for line in lines if "(this run)" in line] == [
        line for line in lines if line.startswith("entropy θ = 0.2 (this run)  ")
    ]
    assert "oracle" not in lines[0]
    borrowed = dataclasses.replace(curve_of(run, 5), without_threshold="oracle")
    title = said(terminal.print_edp, borrowed)[0]
    assert title.endswith("; exit policy oracle has no threshold, the curve is entropy's")


def test_many_timesteps_are_not_all_listed(said: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "run", result(timesteps=12, policy="entropy", theta=0.2), {})
    run = read_run(tmp_path / "run")
    lines, histogram = said(terminal.print_summary, run), run.summary["timesteps_histogram"]
    assert sum(line.startswith("T̂ = ") for line in lines) == sum(n > 0 for n in histogram)
    left_out = histogram.count(0)
    assert f"{left_out} rows without images left out" in lines
    lines = said(terminal.print_edp, curve_of(run, 3))
    assert cells(lines, "static T = 12")[-1] == "12 12 12"
    taken = sorted(t for t, n in enumerate(histogram, 1) for _ in range(n))
    (own,) = (line for line in lines if "(this run)" in line)
    assert own.endswith(f"  {taken[0]} {taken[(len(taken) - 1) // 2]} {taken[-1]}")


def test_a_run_without_baseline_is_not_told_what_static_means(stopped: Run, said: Any) -> None:
    lines = said(terminal.print_summary, stopped)
    assert not any(line.startswith("static: ") for line in lines)
    assert any(line.startswith("dynamic: an image exits") for line in lines)
