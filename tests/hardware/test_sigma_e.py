from __future__ import annotations

import pytest

from imcsim.chip.sections import SigmaE
from imcsim.chip.technology import Technology
from imcsim.errors import MappingError
from imcsim.hardware.sigma_e import SigmaEModule

# 32 nm LSTP values of DNN+NeuroSim V1.3's circuit modules; everything else is zero.
VALUES = {
    "lut_read_j": 2.71e-12,
    "fifo_access_j": 0.153e-12,
    "multiplier_8bit_j": 0.130e-12,
    "adder_bit_j": 2.0e-15,
    "comparator_bit_j": 0.65e-15,
    "lut_3kb_m2": 10.9e-9,
    "fifo_word_m2": 41.8e-12,
    "multiplier_8bit_m2": 188e-12,
    "adder_bit_m2": 2.94e-12,
    "comparator_bit_m2": 3.5e-12,
    "register_bit_m2": 2.61e-12,
    "sram_bit_leakage_w": 8.65e-12,
    "register_bit_leakage_w": 0.24e-9,
    "adder_bit_leakage_w": 0.22e-9,
}


def technology(**values: float) -> Technology:
    fields = {
        name: {"value": values.get(name, 0.0), "source": "test"}
        for name in Technology.model_fields
        if name not in ("name", "description")
    }
    return Technology.model_validate({"name": "test", "description": "test", **fields})


def module(classes: int = 10, lut_cycles: int = 2, fifo_depth: int = 256) -> SigmaEModule:
    return SigmaEModule(
        classes=classes,
        fifo_depth=fifo_depth,
        lut_cycles=lut_cycles,
        sigma_lut_bytes=3072,
        entropy_lut_bytes=3072,
    )


def cycles_by_schedule(classes: int, lut_cycles: int) -> int:
    """Walk every class through the stages, of which only the look-up takes several cycles."""

    def last_leaves(before: int, after: int, start: int) -> int:
        lut_free = done = start
        for i in range(classes):
            lut_free = max(lut_free, start + i + before) + lut_cycles
            done = lut_free + after
        return done

    filled = classes
    pass1 = last_leaves(before=2, after=1, start=filled)
    logarithm = pass1 + 1 + lut_cycles + lut_cycles + 1
    pass2 = last_leaves(before=3, after=3, start=logarithm)
    return pass2 + 1


@pytest.mark.parametrize("classes", [1, 2, 10, 200])
@pytest.mark.parametrize("lut_cycles", [1, 2, 5])
def test_cycles_follow_the_schedule(classes: int, lut_cycles: int) -> None:
    assert module(classes, lut_cycles).cycles == cycles_by_schedule(classes, lut_cycles)


def test_cifar10_takes_66_cycles_with_two_cycle_look_ups() -> None:
    assert module(10, 2).cycles == 10 + (20 + 3) + (4 + 2) + (20 + 6) + 1


def test_every_class_is_looked_up_once_per_pass() -> None:
    done = module(10).actions
    assert done.sigma_lut_reads == 20
    assert done.entropy_lut_reads == 2
    assert done.fifo_accesses == 10 + 20 + 10 + 10
    assert done.multiplications_8bit == 120


def test_energy_is_the_sum_of_its_parts() -> None:
    table = technology(**VALUES)
    parts = module().energy_parts_j(table)
    assert module().energy_j(table) == pytest.approx(sum(parts.values()), rel=1e-12)
    for part, key in {
        "lut": "lut_read_j",
        "fifo": "fifo_access_j",
        "multiplier": "multiplier_8bit_j",
        "adder": "adder_bit_j",
        "comparator": "comparator_bit_j",
    }.items():
        alone = technology(**{key: VALUES[key]})
        assert module().energy_j(alone) == pytest.approx(parts[part], rel=1e-12)
        assert parts[part] > 0


def test_energy_is_linear_in_the_classes_but_for_the_logarithm() -> None:
    table = technology(**VALUES)
    energy = [module(classes).energy_j(table) for classes in (10, 20, 30)]
    assert energy[2] - energy[1] == pytest.approx(energy[1] - energy[0])


def test_an_evaluation_costs_about_2e_5_of_a_timestep() -> None:
    # Li et al., DAC 2023, Section III-B: 2e-5 of the energy of one timestep, here some 4 µJ.
    share = module(10).energy_j(technology(**VALUES)) / 4e-6
    assert 0.5e-5 < share < 4e-5


def test_tables_are_most_of_the_energy_and_of_the_area() -> None:
    table = technology(**VALUES)
    assert module().energy_parts_j(table)["lut"] > 0.5 * module().energy_j(table)
    small = module(fifo_depth=10)
    assert small.area_parts_m2(table)["lut"] > 0.5 * small.area_m2(table)


def test_area_is_the_sum_of_its_parts_and_counts_the_fifos_as_built() -> None:
    table = technology(**VALUES)
    small, large = module(fifo_depth=10), module(fifo_depth=266)
    assert small.area_m2(table) == pytest.approx(sum(small.area_parts_m2(table).values()))
    grown = large.area_m2(table) - small.area_m2(table)
    assert grown == pytest.approx(2 * 256 * VALUES["fifo_word_m2"])


def test_leakage_counts_every_table_bit() -> None:
    alone = technology(sram_bit_leakage_w=1e-12)
    assert module().leakage_w(alone) == pytest.approx(6144 * 8 * 1e-12)
    assert module().leakage_w(technology(**VALUES)) > module().leakage_w(
        technology(sram_bit_leakage_w=VALUES["sram_bit_leakage_w"])
    )


def test_the_module_is_built_from_the_architecture_file() -> None:
    section = SigmaE(
        sigma_lut_bytes=3072, entropy_lut_bytes=3072, word_bits=16, fifo_depth=256, lut_s=2.4e-9
    )
    assert SigmaEModule.of(section, 10, 500e6) == module(lut_cycles=2)
    assert SigmaEModule.of(section, 10, 1e9) == module(lut_cycles=3)


def test_more_classes_than_the_fifos_hold_are_refused() -> None:
    with pytest.raises(MappingError, match=r"300 classes.* hold 256 \(raise sigma_e\.fifo_depth\)"):
        module(classes=300)
