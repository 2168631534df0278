"""Bit-for-bit comparison of an ideal copy of the chip with the numpy reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imcsim.errors import ImcsimError
from imcsim.functional.forward import Array, ideal_model, run_batch
from imcsim.mapping import LayerMapping, Mapping
from imcsim.network.reference import ReferenceRun, run_reference


class VerificationError(ImcsimError):
    """The simulator and the reference disagree: a bug of imcsim, or a damaged workload."""


@dataclass(frozen=True)
class Verification:
    """What was compared and found equal."""

    images: int
    timesteps: int
    layers: int
    values: int
    """Integers compared: outputs of all layers at all timesteps."""


class _Comparison:
    """Compares each layer's output as it appears."""

    def __init__(self, mapping: Mapping, reference: ReferenceRun):
        self.mapping, self.reference, self.values = mapping, reference, 0

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None:
        pass

    def layer_output(self, timestep: int, layer: int, output: Array) -> None:
        assert self.reference.outputs is not None
        expected = self.reference.outputs[layer][:, timestep]
        found = output.transpose(0, 3, 1, 2)
        if not np.array_equal(found, expected):
            image, *where = (int(i) for i in np.argwhere(found != expected)[0])
            raise VerificationError(
                f"layer {self.mapping.network.layers[layer].name}, timestep {timestep + 1}, "
                f"image {image}, (channel, y, x) = {tuple(where)}: "
                f"the chip gives {found[image][tuple(where)]}, "
                f"the reference {expected[image][tuple(where)]}"
            )
        self.values += found.size


def verify(
    mapping: Mapping, images: npt.NDArray[np.uint8], golden_logits: npt.NDArray[np.int32]
) -> Verification:
    """Run golden images on an idealised copy of the chip and compare every layer and timestep.

    Parameters
    ----------
    images : uint8 (n, c, h, w) or (n, t, c, h, w): the first images of the workload.
    golden_logits : int32 (n, t, classes) from the workload file.

    Raises
    ------
    VerificationError
        At the first difference; it names layer, timestep, image and position.
    """
    timesteps = golden_logits.shape[1]
    images = images[: len(golden_logits)]
    reference = run_reference(mapping.network, images, timesteps, record=True)
    if not np.array_equal(reference.logits, golden_logits):
        image, t, k = (int(i) for i in np.argwhere(reference.logits != golden_logits)[0])
        raise VerificationError(
            f"golden_logits of image {image}, timestep {t + 1}, class {k}: the file says "
            f"{golden_logits[image, t, k]}, the reference {reference.logits[image, t, k]}"
        )
    comparison = _Comparison(mapping, reference)
    run_batch(ideal_model(mapping), images, timesteps, comparison)
    return Verification(len(images), timesteps, len(mapping.network.layers), comparison.values)
