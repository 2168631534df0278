"""Images through the chip: crossbars, neurons, pools, residual adds, timestep by timestep.

Activations are channel-last, (n, h, w, c), because one crossbar's word lines are neighbouring
channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imcsim.activity import MEASURED_ACTIONS
from imcsim.functional.adc import (
    FRACTION_BITS,
    ONE_LEVEL,
    AdcSettings,
    Steps,
    adc_settings,
    largest_sum,
    lossless_steps,
)
from imcsim.functional.cells import ProgrammedLayer, program
from imcsim.mapping import LayerMapping, Mapping
from imcsim.network.layers import IMAGE, Layer, Network

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
StopRule = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
"""Given the logits so far, int64 (n, t, classes), of the images still running, and their places in
the batch, int64 (n,): which of them exit after timestep t."""


class Observer(Protocol):
    """Sees what flows through a batch; used for calibration and verification."""

    def layer_input(self, placed: LayerMapping, inputs: Array) -> None: ...

    def layer_output(self, timestep: int, layer: int, output: Array) -> None: ...


@dataclass(frozen=True, eq=False)
class ChipModel:
    """A programmed chip instance, ready for images."""

    mapping: Mapping
    cells: dict[int, ProgrammedLayer]
    adc: dict[int, AdcSettings]


@dataclass(frozen=True, eq=False)
class FunctionalResult:
    """What came out of the chip. n = images, t = timesteps, k = classes, l = layers, m = measured
    actions."""

    logits: npt.NDArray[np.int32]
    """int32 (n, t, k): class scores of each timestep, not accumulated; 0 where not simulated."""
    simulated: Counts
    """int64 (n,): timesteps simulated."""
    measured_once: Counts
    """int64 (n, l, m)."""
    measured_step: Counts
    """int64 (n, t, l, m)."""
    spikes: Counts
    """int64 (n, t, l): spikes (or pooled counts) that each layer sent."""
    saturations: Counts
    """int64 (n, t, l): membrane potentials clipped to their width."""


def build_model(mapping: Mapping, seed: int, steps: Steps) -> ChipModel:
    """Program a chip instance: variation drawn from `seed`, converters with `steps`."""
    chip = mapping.chip
    return _model(mapping, seed, chip.device.variation, steps, (1 << chip.adc.bits) - 1)


def ideal_model(mapping: Mapping) -> ChipModel:
    """The same mapping without any non-ideality: exact cells, converters that lose nothing."""
    return _model(mapping, 0, 0.0, lossless_steps(mapping), largest_sum(mapping))


def _model(mapping: Mapping, seed: int, variation: float, steps: Steps, max_code: int) -> ChipModel:
    cells = {m.index: program(mapping, m, seed, variation) for m in mapping.layers}
    adc = {
        m.index: adc_settings(mapping, m, steps, max_code, cells[m.index]) for m in mapping.layers
    }
    return ChipModel(mapping, cells, adc)


def bytes_per_image(network: Network) -> int:
    """Working memory of one image in a batch: potentials and spikes of all layers; accumulators,
    padded inputs and kept currents of the largest one."""
    neurons = sum(int(np.prod(layer.output_shape)) for layer in network.layers)
    largest = max(int(np.prod(layer.output_shape)) for layer in network.layers)
    return 5 * neurons + 5 * 4 * largest


def run_batch(
    model: ChipModel,
    images: npt.NDArray[np.uint8],
    timesteps: int,
    observer: Observer | None = None,
    stop: StopRule | None = None,
) -> FunctionalResult:
    """Run images for `timesteps` timesteps, or until `stop` lets each one exit.

    Parameters
    ----------
    model : a programmed chip.
    images : uint8 (n, c, h, w), or (n, t, c, h, w) for a network with ``encoding: events``.
    timesteps : T.
    observer : told of every layer's padded inputs and outputs.
    stop : exited images leave the batch at once.
    """
    return _Batch(model, images, timesteps, observer).run(stop)


class _Batch:
    """State of one batch: potentials and kept first-layer currents of the images still running."""

    def __init__(self, model: ChipModel, images: Array, timesteps: int, observer: Observer | None):
        network = model.mapping.network
        n, layers = len(images), len(network.layers)
        self.model, self.network = model, network
        self.images, self.timesteps, self.observer = images, timesteps, observer
        self.running = np.arange(n)
        self.potentials: dict[int, Array] = {}
        self.kept: dict[int, tuple[Array, Counts]] = {}
        self.result = FunctionalResult(
            logits=np.zeros((n, timesteps, network.classes), np.int32),
            simulated=np.zeros(n, np.int64),
            measured_once=np.zeros((n, layers, len(MEASURED_ACTIONS)), np.int64),
            measured_step=np.zeros((n, timesteps, layers, len(MEASURED_ACTIONS)), np.int64),
            spikes=np.zeros((n, timesteps, layers), np.int64),
            saturations=np.zeros((n, timesteps, layers), np.int64),
        )

    def run(self, stop: StopRule | None) -> FunctionalResult:
        for t in range(self.timesteps):
            self.step(t)
            self.result.simulated[self.running] = t + 1
            if stop is not None and t + 1 < self.timesteps:
                logits = self.result.logits[self.running, : t + 1].astype(np.int64)
                self.keep_only(~stop(logits, self.running))
            if len(self.running) == 0:
                break
        return self.result

    def keep_only(self, staying: npt.NDArray[np.bool_]) -> None:
        self.running = self.running[staying]
        self.potentials = {i: u[staying] for i, u in self.potentials.items()}
        self.kept = {i: (acc[staying], counts[staying]) for i, (acc, counts) in self.kept.items()}

    def step(self, t: int) -> None:
        image = self.encoded(t)
        outputs: list[Array] = []
        for index, layer in enumerate(self.network.layers):
            source = image if layer.source == IMAGE else outputs[layer.source]
            if layer.is_pool:
                output = pool(source, layer)
            else:
                output = self.weight_layer(t, index, source, outputs)
            outputs.append(output)
            if not layer.sends_sums:
                self.result.spikes[self.running, t, index] = output.sum(
                    axis=(1, 2, 3), dtype=np.int64
                )
            if self.observer is not None:
                self.observer.layer_output(t, index, output)
        self.result.logits[self.running, t] = outputs[-1][:, 0, 0]

    def encoded(self, t: int) -> Array:
        pixels = self.images[self.running]
        if self.network.encoding == "events":
            pixels = pixels[:, t]
        return self.network.encode(pixels).transpose(0, 2, 3, 1)

    def weight_layer(self, t: int, index: int, source: Array, outputs: list[Array]) -> Array:
        layer = self.network.layers[index]
        static = self.network.sees_static_image(index)
        if static and index in self.kept:
            acc, counts = self.kept[index]
        else:
            acc, counts = self.crossbars(index, source)
            if static:
                self.kept[index] = acc, counts
        if not self.model.mapping.keeps_currents(index):
            self.result.measured_step[self.running, t, index] = counts
        elif t == 0:
            self.result.measured_once[self.running, index] = counts
        if layer.residual is not None and self.network.layers[layer.residual].sends_sums:
            acc = acc + outputs[layer.residual]
        if not layer.spikes:
            # A classifier's bias counts accumulator LSB; a shortcut convolution's is added by its
            # target.
            return acc + layer.bias if layer.bias is not None else acc
        return self.neurons(t, index, acc, outputs)

    def crossbars(self, index: int, source: Array) -> tuple[Array, Counts]:
        from imcsim.kernels.crossbar import read_crossbars

        placed = self.model.mapping.of(index)
        layer, cells, adc = placed.layer, self.model.cells[index], self.model.adc[index]
        inputs = pad(source, layer.padding)
        if self.observer is not None:
            self.observer.layer_input(placed, inputs)
        n, (c_out, height, width) = len(inputs), layer.output_shape
        out = np.empty((n, height, width, c_out), np.int32)
        counts = np.empty((n, len(MEASURED_ACTIONS)), np.int64)
        read_crossbars(
            inputs, layer.input_bits, layer.input_signed, layer.window, layer.stride,
            placed.crossbar_rows, cells.levels, cells.row_conductance,
            adc.bias, adc.inverse_step, adc.factor, adc.max_code,
            self.model.mapping.slicing.offset * ONE_LEVEL,
            sums_scratch(self.model.mapping, cells), out, counts,
        )  # fmt: skip
        # Codes are worth sixteenths of a level: round to whole accumulator LSB, once per window.
        out += ONE_LEVEL // 2
        out >>= FRACTION_BITS
        # Every column block sees the same word lines; the conductance already covers all columns.
        return out, counts * np.array([placed.col_blocks, 1, placed.col_blocks])

    def neurons(self, t: int, index: int, acc: Array, outputs: list[Array]) -> Array:
        from imcsim.kernels.lif import lif_step

        layer, neuron = self.network.layers[index], self.network.neuron
        assert layer.threshold is not None and layer.bias is not None
        channels = layer.output_shape[0]
        if index not in self.potentials:
            wide = np.int32 if neuron.membrane_bits <= 32 else np.int64
            self.potentials[index] = np.zeros(acc.shape, wide)
        identity: Array = np.zeros((0, channels), np.uint8)
        current: Array = np.zeros(channels, np.int32)
        if layer.residual is not None and not self.network.layers[layer.residual].sends_sums:
            assert layer.residual_current is not None
            identity = np.ascontiguousarray(outputs[layer.residual]).reshape(-1, channels)
            current = layer.residual_current
        spikes = np.empty(acc.shape, np.uint8)
        for i, image in enumerate(self.running):
            positions = acc[i].size // channels
            part = slice(i * positions, (i + 1) * positions)
            self.result.saturations[image, t, index] = lif_step(
                self.potentials[index][i].reshape(-1, channels), acc[i].reshape(-1, channels),
                identity[part] if len(identity) else identity, current, layer.threshold, layer.bias,
                neuron.leak_multiplier, neuron.leak_shift, neuron.fraction_bits,
                neuron.membrane_bits, neuron.reset == "hard", spikes[i].reshape(-1, channels),
            )  # fmt: skip
        return spikes


def sums_scratch(mapping: Mapping, cells: ProgrammedLayer) -> Array:
    """Column sums of one row block: float32, or the narrowest unsigned integer that cannot
    overflow."""
    if cells.levels.dtype == np.float32:
        return np.zeros(cells.levels.shape[1], np.float32)
    return np.zeros(
        cells.levels.shape[1], np.uint16 if largest_sum(mapping) < 1 << 16 else np.uint32
    )


def pad(source: Array, padding: int) -> Array:
    """Zero-pad height and width; contiguous in any case."""
    if padding:
        source = np.pad(source, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return np.ascontiguousarray(source)


def pool(source: Array, layer: Layer) -> Array:
    """Max pool as OR, average pool as count, of (n, h, w, c) spikes."""
    padded = pad(source, layer.padding)
    _, height, width = layer.output_shape
    wide = np.uint8 if layer.kernel**2 * layer.input_max < 256 else np.int32
    result = np.zeros((len(source), height, width, source.shape[3]), wide)
    for ky in range(layer.kernel):
        for kx in range(layer.kernel):
            part = padded[:, ky :: layer.stride, kx :: layer.stride][:, :height, :width]
            if layer.kind == "max_pool":
                result |= part.astype(wide)
            else:
                result += part.astype(wide)
    return result


def merge(parts: list[FunctionalResult]) -> FunctionalResult:
    """Join the results of consecutive batches along the image axis."""
    names = ("logits", "simulated", "measured_once", "measured_step", "spikes", "saturations")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **joined)
