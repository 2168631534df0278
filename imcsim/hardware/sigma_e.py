"""Cost of the σ-E module, which decides on exits (Li et al., DAC 2023, Section III-B and Fig. 3b).

One evaluation, for K classes and L cycles per look-up:

=========  =================================================================  ============
phase      what happens                                                       cycles
=========  =================================================================  ============
fill       scores enter the y-FIFO; a comparator keeps the largest            K
pass 1     pop and subtract, multiply by the gain, σ-LUT, add to Z            K·L + 3
logarithm  find the leading one, E-LUT twice (mantissa, exponent), add        2·L + 2
pass 2     pop and subtract, multiply, add ln Z, σ-LUT, push to the σ-FIFO,   K·L + 6
           pop and multiply by the logarithm, add to E
decision   compare E with θ                                                   1
=========  =================================================================  ============

A look-up table has one port and no pipeline, so a class enters every L cycles; the other stages
take one cycle each and only add their fill time. Words are 16 bits: assumed to hold the difference
of two scores as far as the table reaches. Summing the scores over timesteps is the global
accumulator's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imcsim.errors import MappingError
from imcsim.hardware.clock import cycles_of

if TYPE_CHECKING:
    from imcsim.chip.sections import SigmaE
    from imcsim.chip.technology import Technology

WORD_BITS = 16
SUM_BITS = 32
"""Width of the accumulators of Z and E, and of θ in the units of E."""
MULTIPLIER_8BIT = 4
"""A 16×16-bit product as 8×8-bit ones."""


@dataclass(frozen=True)
class SigmaEActions:
    """How often an evaluation does what."""

    fifo_accesses: int
    """16-bit words in or out: y-FIFO K in and 2·K out, σ-FIFO K in and K out."""
    sigma_lut_reads: int
    entropy_lut_reads: int
    multiplications_8bit: int
    adder_bits: int
    comparator_bits: int

    @property
    def lut_reads(self) -> int:
        return self.sigma_lut_reads + self.entropy_lut_reads


@dataclass(frozen=True)
class SigmaEModule:
    """The module as built (`fifo_depth`, tables) and as used (`classes`).

    Raises
    ------
    MappingError
        The network has more classes than the FIFOs hold.
    """

    classes: int
    fifo_depth: int
    lut_cycles: int
    sigma_lut_bytes: int
    entropy_lut_bytes: int

    def __post_init__(self) -> None:
        if self.classes > self.fifo_depth:
            raise MappingError(
                f"the network has {self.classes} classes, the σ-E module's FIFOs hold "
                f"{self.fifo_depth} (raise sigma_e.fifo_depth)"
            )

    @classmethod
    def of(cls, section: SigmaE, classes: int, clock_hz: float) -> SigmaEModule:
        """The module of an architecture file, used for a network of `classes` classes."""
        return cls(
            classes=classes,
            fifo_depth=section.fifo_depth,
            lut_cycles=cycles_of(section.lut_s, clock_hz, "sigma_e.lut_s"),
            sigma_lut_bytes=section.sigma_lut_bytes,
            entropy_lut_bytes=section.entropy_lut_bytes,
        )

    @property
    def fill_cycles(self) -> int:
        return self.classes

    @property
    def pass1_cycles(self) -> int:
        return self.classes * self.lut_cycles + 3

    @property
    def logarithm_cycles(self) -> int:
        return 2 * self.lut_cycles + 2

    @property
    def pass2_cycles(self) -> int:
        return self.classes * self.lut_cycles + 6

    @property
    def cycles(self) -> int:
        """Cycles from the first score to the decision; one evaluation at a time."""
        phases = self.fill_cycles + self.pass1_cycles + self.logarithm_cycles + self.pass2_cycles
        return phases + 1

    @property
    def actions(self) -> SigmaEActions:
        """Counts of one evaluation; they do not depend on the scores."""
        k = self.classes
        # Per class: two subtractions and ln Z; Z and E. Once: mantissa plus exponent of ln Z.
        adder_bits = 3 * k * WORD_BITS + 2 * k * SUM_BITS + WORD_BITS
        return SigmaEActions(
            fifo_accesses=5 * k,
            sigma_lut_reads=2 * k,
            entropy_lut_reads=2,
            # Per class: the gain in both passes, and σ times its logarithm.
            multiplications_8bit=3 * k * MULTIPLIER_8BIT,
            adder_bits=adder_bits,
            # The running maximum, and E against θ.
            comparator_bits=k * WORD_BITS + SUM_BITS,
        )

    def energy_parts_j(self, technology: Technology) -> dict[str, float]:
        """Dynamic energy of one evaluation by kind of circuit [J]."""
        done = self.actions
        return {
            "lut": done.lut_reads * technology.lut_read_j.value,
            "fifo": done.fifo_accesses * technology.fifo_access_j.value,
            "multiplier": done.multiplications_8bit * technology.multiplier_8bit_j.value,
            "adder": done.adder_bits * technology.adder_bit_j.value,
            "comparator": done.comparator_bits * technology.comparator_bit_j.value,
        }

    def energy_j(self, technology: Technology) -> float:
        """Dynamic energy of one evaluation [J]."""
        return sum(self.energy_parts_j(technology).values())

    @property
    def _lut_bytes(self) -> int:
        return self.sigma_lut_bytes + self.entropy_lut_bytes

    @property
    def _built_adder_bits(self) -> int:
        """Subtractor, ln Z adder, and the accumulators of Z and E."""
        return 2 * WORD_BITS + 2 * SUM_BITS

    @property
    def _built_register_bits(self) -> int:
        """Largest score, gain, ln Z, x beside the σ-FIFO; Z, E and θ."""
        return 4 * WORD_BITS + 3 * SUM_BITS

    def area_parts_m2(self, technology: Technology) -> dict[str, float]:
        """Area by kind of circuit [m²]; FIFOs at their full depth."""
        return {
            "lut": self._lut_bytes / 3072 * technology.lut_3kb_m2.value,
            "fifo": 2 * self.fifo_depth * technology.fifo_word_m2.value,
            # One for the gain, one for σ times its logarithm.
            "multiplier": 2 * MULTIPLIER_8BIT * technology.multiplier_8bit_m2.value,
            "adder": self._built_adder_bits * technology.adder_bit_m2.value,
            "comparator": (WORD_BITS + SUM_BITS) * technology.comparator_bit_m2.value,
            "register": self._built_register_bits * technology.register_bit_m2.value,
        }

    def area_m2(self, technology: Technology) -> float:
        """Area of the module [m²]."""
        return sum(self.area_parts_m2(technology).values())

    def leakage_w(self, technology: Technology) -> float:
        """Leakage of tables, FIFOs, registers and adders [W]."""
        fifo_bits = 2 * self.fifo_depth * WORD_BITS
        registers = fifo_bits + self._built_register_bits
        return (
            8 * self._lut_bytes * technology.sram_bit_leakage_w.value
            + registers * technology.register_bit_leakage_w.value
            + self._built_adder_bits * technology.adder_bit_leakage_w.value
        )
