"""Chips for tests: the shipped ones with a few keys changed."""

from __future__ import annotations

from functools import cache
from typing import Any

from imcsim.chip import Chip, load_chip
from tests.chip.files import ARCH


def rram64(overrides: dict[str, Any] | None = None) -> Chip:
    """Table I's chip; keys as ``--set`` takes them."""
    return _load(tuple(sorted((overrides or {}).items())))


@cache
def _load(overrides: tuple[tuple[str, Any], ...]) -> Chip:
    return load_chip(ARCH / "rram64.yaml", dict(overrides))


def exact(overrides: dict[str, Any] | None = None) -> Chip:
    """Table I's chip without variation."""
    return rram64({"device.variation": 0.0} | (overrides or {}))
