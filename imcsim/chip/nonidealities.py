"""What keeps a cell from being ideal: one section per model, as ``device.nonidealities`` lists
them.

Every entry names its `model`; at most one entry of each. The order of the entries means nothing:
they act in the order of the physics (`imcsim.functional.devices`). Formulas and sources are in
docs/devices.md. A value without a unit is a fraction: `sigma` is σ/μ, "of G_on" means of the
conductance of the highest level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from imcsim.config.check import Conflict
from imcsim.config.layout import Section
from imcsim.config.yaml_positions import KeyPath

T = TypeVar("T")

Fraction = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=-1e6, le=1e6)]

WAN_2022_1S = (0.0087, 0.40075, -1.096325, 1.134825, -0.420375)
"""σ/G_on as a polynomial of G/G_on, lowest power first: RRAM of Wan et al., Nature 608, 504 (2022),
one second after programming; aihwkit's fit (`ReRamWan2022NoiseModel`), in units of its 40 µS."""

FALCONE_2025_G_ON_S = 88.2e-6
"""Highest conductance of the cells behind the three defaults of relaxation [S]."""


class Programming(Section):
    """Cells (or weights) end up beside their target when they are written, once per chip."""

    model: Literal["programming"]
    spread: Literal["proportional", "lognormal", "level_dependent"]
    """`proportional`: G·(1 + σn), not below 0; `lognormal`: the same mean and σ, never negative;
    `level_dependent`: G + n·σ(G), not below 0."""
    sigma: float | None = Field(default=None, ge=0, le=1, validate_default=True)
    """σ/μ of proportional and lognormal spread; Li et al., Table I: 0.2."""
    sigma_coefficients: tuple[Coefficient, ...] | None = Field(
        default=None, min_length=1, max_length=8, validate_default=True
    )
    """Level-dependent spread: σ/G_on = Σ c_i·(G/G_on)^i, lowest power first, not below 0; if left
    out, `WAN_2022_1S`."""
    granularity: Literal["device", "weight"] = "device"
    """`device`: every cell is off; `weight`: the stored 8-bit weight is, clip(round(w·(1 + σn)),
    ±127), and cells are exact (Fig. 6(B) of Li et al.)."""

    @field_validator("sigma")
    @classmethod
    def _sigma_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        value = _belongs(value, info, "spread", ("proportional", "lognormal"))
        if value is None and info.data.get("spread") in ("proportional", "lognormal"):
            raise PydanticCustomError("missing", "sigma is missing")
        return value

    @field_validator("sigma_coefficients")
    @classmethod
    def _coefficients_fit(
        cls, value: tuple[float, ...] | None, info: ValidationInfo
    ) -> tuple[float, ...] | None:
        return _belongs(value, info, "spread", ("level_dependent",), WAN_2022_1S)

    @field_validator("granularity")
    @classmethod
    def _granularity_fits(cls, value: str, info: ValidationInfo) -> str:
        if value == "weight" and info.data.get("spread") == "level_dependent":
            raise PydanticCustomError(
                "unfit", "must be device with spread level_dependent: a weight has no level"
            )
        return value


class ProgramVerify(Section):
    """Cells are read back and written again until they are near enough; needs `programming` of
    cells. The last attempt stays, near or not."""

    model: Literal["program_verify"]
    tolerance: float = Field(gt=0, le=1)
    """Largest accepted |G − target| / target; Falcone et al. (arXiv 2502.04524): 0.002 and 0.02."""
    attempts: int = Field(ge=1, le=1000)
    """Writes in all, the first one included."""


class StuckAt(Section):
    """Cells that keep one conductance whatever is written."""

    model: Literal["stuck_at"]
    on: Fraction
    """Share of cells stuck at G_on."""
    off: Fraction
    """Share of cells stuck at G_off; `on` + `off` is at most 1."""

    @field_validator("off")
    @classmethod
    def _shares_fit(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("on", 0.0) > 1:
            raise PydanticCustomError("unfit", "must be at most 1 together with on")
        return value


class Drift(Section):
    """Conductances change with the time since programming, once per chip."""

    model: Literal["drift"]
    time_s: float = Field(ge=0, le=1e10)
    """Since programming; 0 changes nothing."""
    law: Literal["relaxation", "power_law"]
    """`relaxation` (RRAM): mean and spread move with ln(t / 1 s), whatever the level;
    `power_law` (PCM): G·(t / reference)^−ν."""
    shift_per_efold: float | None = Field(default=None, ge=-1, le=1, validate_default=True)
    """Relaxation: change of the mean per factor e in time, of G_on; −0.089 µS of 88.2 µS (Falcone
    et al., arXiv 2502.04524, as aihwkit's `ReRamCMONoiseModel` has it)."""
    sigma_at_1s: float | None = Field(default=None, ge=0, le=1, validate_default=True)
    """Relaxation: spread after one second, of G_on; 0.4118 µS of 88.2 µS (same source)."""
    sigma_per_efold: float | None = Field(default=None, ge=0, le=1, validate_default=True)
    """Relaxation: growth of the spread per factor e in time, of G_on; 0.042 µS of 88.2 µS."""
    reference_s: float | None = Field(default=None, gt=0, le=1e10, validate_default=True)
    """Power law: time of the programmed conductance; 20 s (Joshi et al., Nat. Commun. 11, 2473
    (2020), and aihwkit's `PCMLikeNoiseModel`)."""
    exponent: float | None = Field(default=None, ge=0, le=2, validate_default=True)
    """Power law: mean of ν; 0.049, cells near G_on in `PCMLikeNoiseModel`."""
    exponent_sigma: float | None = Field(default=None, ge=0, le=2, validate_default=True)
    """Power law: spread of ν from cell to cell (not below 0); 0.008, as above."""

    @field_validator("shift_per_efold")
    @classmethod
    def _shift_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("relaxation",), -0.08900206e-6 / FALCONE_2025_G_ON_S)

    @field_validator("sigma_at_1s")
    @classmethod
    def _sigma_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("relaxation",), 0.41183342e-6 / FALCONE_2025_G_ON_S)

    @field_validator("sigma_per_efold")
    @classmethod
    def _growth_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("relaxation",), 0.04201137e-6 / FALCONE_2025_G_ON_S)

    @field_validator("reference_s")
    @classmethod
    def _reference_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("power_law",), 20.0)

    @field_validator("exponent")
    @classmethod
    def _exponent_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("power_law",), 0.049)

    @field_validator("exponent_sigma")
    @classmethod
    def _exponent_sigma_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        return _belongs(value, info, "law", ("power_law",), 0.008)


class Temperature(Section):
    """Conductances at another temperature than the one they were programmed (and verified) at.

    The two coefficients have no default: they differ in sign and size from one oxide to the next.
    """

    model: Literal["temperature"]
    kelvin: float = Field(ge=1, le=1000)
    reference_kelvin: float = Field(default=300.0, ge=1, le=1000)
    """Where the conductances hold; NeuroSim's 300 K."""
    resistance_per_kelvin: float = Field(ge=-0.1, le=0.1)
    """Temperature coefficient of the filament's resistance, per kelvin; metallic: above 0."""
    activation_ev: float = Field(ge=0, le=2)
    """Activation energy of the conductance at R_off, in electronvolts."""

    @field_validator("resistance_per_kelvin")
    @classmethod
    def _resistance_stays(cls, value: float, info: ValidationInfo) -> float:
        kelvin, reference = info.data.get("kelvin"), info.data.get("reference_kelvin")
        if kelvin is not None and reference is not None and value * (kelvin - reference) <= -1:
            raise PydanticCustomError("unfit", "must leave a resistance above 0 at kelvin")
        return value


class WireResistance(Section):
    """Voltage is lost along word lines and bit lines (IR drop).

    Word lines are driven at their first column, bit lines are held at virtual ground behind their
    last row; one more segment of wire lies between driver and first cell, last cell and amplifier.
    """

    model: Literal["wire_resistance"]
    ohm_per_cell: float = Field(ge=0, le=1e4)
    """Of one segment, word line and bit line alike."""
    method: Literal["fast", "exact"]
    """`fast`: each line by itself, the others at ground; `exact`: nodal analysis of every array,
    about 15 ms for one of 64×64."""
    inactive_rows: Literal["grounded", "open"] = "grounded"
    """Rows without input: `grounded` drivers (their cells load the bit lines, and a read is linear
    in its inputs); `open`: cells cut off by their transistors, which `exact` cannot express as
    fixed conductances."""
    activity: float | None = Field(default=None, ge=0, le=1, validate_default=True)
    """Open rows: share of the rows that are active in a read, on average."""

    @field_validator("inactive_rows")
    @classmethod
    def _rows_fit(cls, value: str, info: ValidationInfo) -> str:
        if value == "open" and info.data.get("method") == "exact":
            raise PydanticCustomError("unfit", "must be grounded with method exact")
        return value

    @field_validator("activity")
    @classmethod
    def _activity_fits(cls, value: float | None, info: ValidationInfo) -> float | None:
        value = _belongs(value, info, "inactive_rows", ("open",))
        if value is None and info.data.get("inactive_rows") == "open":
            raise PydanticCustomError("missing", "activity is missing")
        return value


class ReadNoise(Section):
    """Conductances fluctuate from read to read."""

    model: Literal["read_noise"]
    sigma: float = Field(ge=0, le=1)
    """About 0.01 for RRAM (Wan et al. 2022 in aihwkit's notes)."""
    spread: Literal["proportional", "constant"] = "proportional"
    """`proportional`: σ of each cell's conductance; `constant`: σ of G_on for every cell."""


class InputNoise(Section):
    """The voltage of an active word line varies from read to read, for all columns of its crossbar
    alike."""

    model: Literal["input_noise"]
    sigma: float = Field(ge=0, le=1)
    """Of the read voltage."""


NonIdeality = Annotated[
    Programming
    | ProgramVerify
    | StuckAt
    | Drift
    | Temperature
    | WireResistance
    | ReadNoise
    | InputNoise,
    Field(discriminator="model"),
]
"""One entry of ``device.nonidealities``."""

NON_IDEALITIES: Mapping[str, type[Section]] = MappingProxyType(
    {
        get_args(section.model_fields["model"].annotation)[0]: section
        for section in get_args(get_args(NonIdeality)[0])
    }
)
"""Section of each model, by the value of its key `model`."""


FIXED_WHEN_MADE = (Programming, ProgramVerify, StuckAt, Drift, Temperature, WireResistance)
"""What changes the cells of a chip for good; the others are drawn in every read."""


def nonideality_conflicts(entries: Sequence[Section | None], at: KeyPath) -> Iterator[Conflict]:
    """Faults between the entries of a list at `at`; entries at fault themselves are None."""
    by_model: dict[str, int] = {}
    for i, entry in enumerate(entries):
        model = None if entry is None else getattr(entry, "model", None)
        if model is None:
            continue
        if model in by_model:
            keys = ((*at, i, "model"), (*at, by_model[model], "model"))
            yield Conflict(keys, f"must be another one than in entry {by_model[model]}: {model}")
        by_model.setdefault(model, i)
    verify = by_model.get("program_verify")
    if verify is None or None in entries:
        return
    programming = entries[by_model["programming"]] if "programming" in by_model else None
    if not isinstance(programming, Programming):
        yield Conflict(
            ((*at, verify, "model"),), "must stand beside an entry with model programming"
        )
    elif programming.granularity != "device":
        keys = ((*at, verify, "model"), (*at, by_model["programming"], "granularity"))
        yield Conflict(keys, "must stand beside programming with granularity device")


def _belongs(
    value: T | None,
    info: ValidationInfo,
    key: str,
    words: tuple[str, ...],
    default: T | None = None,
) -> T | None:
    """`value`, or its default, if `key` is one of `words`; else there must be none."""
    chosen = info.data.get(key)
    if chosen is None or chosen in words:
        return default if value is None and chosen is not None else value
    if value is not None:
        wanted = " or ".join(words)
        raise PydanticCustomError(
            "unfit",
            "has no effect with {key} {chosen}; it belongs to {key} {wanted}",
            {"key": key, "chosen": chosen, "wanted": wanted},
        )
    return None
