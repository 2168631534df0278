from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imcsim.errors import ImcsimError
from imcsim.functional import verify as module
from imcsim.functional.forward import ideal_model
from imcsim.functional.verify import VerificationError, verify
from imcsim.mapping import Mapping, map_network
from tests.mapping.chips import rram64
from tests.small_networks import SMALL_NETWORKS, max_pool_network, random_workload


@pytest.mark.parametrize("signed_weights", ["offset", "differential"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_sound_workload_is_verified_on_a_chip_with_variation_and_few_bits(
    name: str, signed_weights: str
) -> None:
    workload = random_workload(SMALL_NETWORKS[name](seed=20))
    network = workload.network
    chip = rram64({"adc.bits": 2, "mapping.signed_weights": signed_weights})
    result = verify(map_network(network, chip), workload.images, workload.golden_logits)
    values = sum(int(np.prod(layer.output_shape)) for layer in network.layers)
    assert (result.images, result.timesteps, result.layers) == (4, 3, len(network.layers))
    assert result.values == 4 * 3 * values


def test_a_changed_golden_score_is_found_and_named() -> None:
    workload = random_workload(max_pool_network(seed=21))
    golden = workload.golden_logits.copy()
    right = golden[2, 1, 3]
    golden[2, 1, 3] += 5
    with pytest.raises(VerificationError) as caught:
        verify(map_network(workload.network, rram64()), workload.images, golden)
    assert str(caught.value) == (
        f"golden_logits of image 2, timestep 2, class 3: the file says {right + 5}, "
        f"the reference {right}"
    )
    assert isinstance(caught.value, ImcsimError)
    assert caught.value.exit_code == 1


def test_a_changed_weight_does_not_match_the_golden_scores() -> None:
    workload = random_workload(max_pool_network(seed=22))
    network = workload.network
    weight = np.array(network.layers[-1].weight)
    weight[1] += np.where(weight[1] > 0, -1, 1).astype(np.int8)
    layers = (*network.layers[:-1], replace(network.layers[-1], weight=weight))
    changed = map_network(replace(network, layers=layers), rram64())
    with pytest.raises(
        VerificationError, match=r"golden_logits of image \d+, timestep \d+, class 1"
    ):
        verify(changed, workload.images, workload.golden_logits)


def test_a_damaged_cell_is_found_in_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = random_workload(max_pool_network(seed=23))

    def damaged(mapping: Mapping) -> Any:
        model = ideal_model(mapping)
        levels = model.cells[2].levels.copy()
        levels[:, 3] = 0  # The high nibbles of conv2's channel 3.
        return replace(model, cells=model.cells | {2: replace(model.cells[2], levels=levels)})

    monkeypatch.setattr(module, "ideal_model", damaged)
    with pytest.raises(VerificationError) as caught:
        verify(map_network(workload.network, rram64()), workload.images, workload.golden_logits)
    assert re.fullmatch(
        r"layer conv2, timestep 1, image \d, \(channel, y, x\) = \(3, \d, \d\): "
        r"the chip gives 0, the reference 1",
        str(caught.value),
    )
