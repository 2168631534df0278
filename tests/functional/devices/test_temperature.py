from __future__ import annotations

import numpy as np
import pytest

from imcsim.chip.nonidealities import Temperature
from imcsim.functional.devices.temperature import apply
from tests.functional.devices.layers import PEDESTAL, at_level, context


def warm(kelvin: float, per_kelvin: float = 0.0, activation_ev: float = 0.0) -> Temperature:
    return Temperature(
        model="temperature",
        kelvin=kelvin,
        resistance_per_kelvin=per_kelvin,
        activation_ev=activation_ev,
    )


@pytest.mark.parametrize("model", [warm(300.0, 1e-3, 0.1), warm(400.0)])
def test_the_reference_temperature_and_no_dependence_change_nothing(model: Temperature) -> None:
    cells = at_level(7)
    np.testing.assert_array_equal(apply(model, cells, context()), cells)


def test_a_metallic_filament_conducts_less_when_warm() -> None:
    cells = apply(warm(350.0, per_kelvin=0.002), at_level(11), context())
    np.testing.assert_allclose(cells, PEDESTAL + 11 / 1.1, rtol=1e-12)


def test_r_off_follows_the_arrhenius_law() -> None:
    # 0.1 eV from 300 K to 350 K: exp(0.1 / 8.617e-5 · (1/300 − 1/350)) = exp(0.55260)
    cells = apply(warm(350.0, activation_ev=0.1), at_level(11), context())
    np.testing.assert_allclose(cells, PEDESTAL * 1.73777 + 11, rtol=1e-5)


def test_a_cell_below_r_off_has_no_filament() -> None:
    cells = apply(warm(350.0, per_kelvin=0.002), at_level(-1), context())
    np.testing.assert_array_equal(cells, at_level(-1))


def test_another_reference_can_be_given() -> None:
    model = warm(310.0, per_kelvin=0.01).model_copy(update={"reference_kelvin": 300.0})
    shifted = model.model_copy(update={"reference_kelvin": 290.0, "kelvin": 300.0})
    np.testing.assert_allclose(
        apply(model, at_level(5), context()), apply(shifted, at_level(5), context()), rtol=1e-12
    )
