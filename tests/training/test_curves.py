"""The learning curves: the log's numbers, and equal bytes for equal logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imcsim.errors import ImcsimError
from imcsim.training.curves import draw_curves, write_curves
from tests.training.fake_cifar import tiny_recipe

LOG: list[dict[str, Any]] = [
    {"stage": stage, "epoch": epoch, "loss": loss, "train_accuracy": 0.5,
     "held_out_accuracy_t1": first, "held_out_accuracy_t2": last, "seconds": 1.0}
    for stage, epoch, loss, first, last in (
        (1, 1, 2.0, 0.1, 0.2), (1, 2, 1.5, 0.3, 0.4), (2, 1, 1.0, 0.35, 0.5)
    )
]  # fmt: skip


def test_equal_logs_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_curves(tmp_path / name, LOG, tiny_recipe())
    picture = (tmp_path / "a.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert picture == (tmp_path / "b.png").read_bytes()


def test_loss_and_accuracies_are_drawn_over_all_epochs_with_a_line_between_stages() -> None:
    left, right = draw_curves(LOG, tiny_recipe()).axes
    curves = [list(line.get_ydata()) for axes in (left, right) for line in axes.lines]
    assert curves[0] == [2.0, 1.5, 1.0]
    assert list(left.lines[0].get_xdata()) == [1, 2, 3]
    assert list(left.lines[1].get_xdata()) == [2.5, 2.5]
    assert curves[2] == pytest.approx([10, 30, 35])
    assert curves[3] == pytest.approx([20, 40, 50])


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=r"a\.png: cannot be written \(No such file"):
        write_curves(tmp_path / "none" / "a.png", LOG, tiny_recipe())
