"""A made-up kind of file that has everything a layout can have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from imcsim.config.check import check_parts
from imcsim.config.faults import Fault
from imcsim.config.layout import Layout, Section
from imcsim.config.overrides import Overrides, apply_overrides
from imcsim.config.yaml_positions import Document, KeyPath, read_document


class Pump(Section):
    power_v: float = Field(gt=0, le=12)
    quiet: bool = False


class Bed(Section):
    plant: Literal["bean", "pea"]
    rows: int = Field(ge=1, le=9)
    spacing: tuple[Annotated[int, Field(ge=1)] | Literal["path"], ...] | None = None


class Title(Section):
    title: str = Field(min_length=1, max_length=10)
    year: int = 0


class Garden(Title):
    pump: Pump
    beds: Annotated[tuple[Bed, ...], Field(min_length=1, max_length=3)]
    spare: Pump = Pump(power_v=5)


GARDEN = Layout(
    model=Garden,
    heading=Title,
    example="pump.power_v=5",
    extra={"soil": ("sand", "clay")},
    file_only=("above",),
)
TEXT = """\
title: peas
pump:
  power_v: 5
beds:
- plant: pea
  rows: 2
- plant: bean
  rows: 3
  spacing: [1, path, 2]
"""


def read(folder: Path, text: str = TEXT) -> Document:
    path = folder / "garden.yaml"
    path.write_text(text)
    return read_document(path)


def check(
    folder: Path, text: str = TEXT, overrides: Overrides = ()
) -> tuple[dict[str, Any], list[str]]:
    """The parts of a file, and its faults without the folder."""
    document = read(folder, text)
    faults: list[Fault] = list(document.faults)
    apply_overrides(document, GARDEN, overrides, faults)
    parts = check_parts(document, GARDEN, faults)
    return parts, [str(fault).replace(f"{folder}/", "") for fault in faults]


def overridden(
    folder: Path, overrides: Overrides, text: str = TEXT
) -> tuple[dict[str, Any], list[str]]:
    """The data after the options, and what is wrong with the options."""
    document = read(folder, text)
    faults: list[Fault] = []
    apply_overrides(document, GARDEN, overrides, faults, _spell_out)
    return document.data, [str(fault) for fault in faults]


def _spell_out(path: KeyPath, value: Any) -> Any:
    if path == ("soil",):
        return {"base": value}
    return f"{value} %" if path[0] == "soil" else value
