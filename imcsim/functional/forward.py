"""Images through the chip: crossbars, neurons, pools, residual adds, timestep by timestep.

Activations are channel-last, (n, h, w, c), because one crossbar's word lines are neighbouring
channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
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
from imcsim.functional.cell_formats import not_for_general_reads, too_wide
from imcsim.functional.cells import ProgrammedLayer, program
from imcsim.functional.general_reads import (
    has_general_conventions,
    needs_general_reads,
    read_general,
)
from imcsim.functional.vector_reads import (
    Conductances,
    VectorLayer,
    quantised,
    vector_layer,
)
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.placement import largest_code
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
    is_ideal: bool = False
    """Without errors and noise of any kind, whatever the chip says."""

    @property
    def reads_generally(self) -> bool:
        """Whether its reads are beyond the fast kernels."""
        general = has_general_conventions if self.is_ideal else needs_general_reads
        return general(self.mapping)

    def is_steady(self, layer: int) -> bool:
        """Whether equal inputs give a layer equal currents and codes."""
        return self.cells[layer].fluctuations is None and self.adc[layer].noise is None

    @cached_property
    def vectors(self) -> dict[int, VectorLayer | None]:
        """Every layer laid out for the vector kernel; None where the plain one has to do."""
        return {m.index: self._vectors(m) for m in self.mapping.layers}

    def _vectors(self, placed: LayerMapping) -> VectorLayer | None:
        """Raises MappingError for a layer that cannot be read as `device.cells` asks."""
        cells = self.cells[placed.index]
        if self.reads_generally:
            if cells.parts is None:
                return None
            raise not_for_general_reads(self.mapping.chip)
        whole = None if cells.parts is None else quantised(cells.levels, cells.parts)
        found = vector_layer(
            placed,
            self.mapping.slicing,
            Conductances(cells.levels) if whole is None else whole,
            cells.row_conductance,
            self.adc[placed.index],
        )
        if found is None and whole is not None:
            raise too_wide(self.mapping.chip, placed.layer.name)
        return found


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
    """Make a chip instance: its cells drawn from `seed`, converters with `steps`."""
    return _model(mapping, seed, steps, largest_code(mapping))


def ideal_model(mapping: Mapping) -> ChipModel:
    """The same mapping without any non-ideality: exact cells, converters that lose nothing."""
    return _model(mapping, None, lossless_steps(mapping), largest_sum(mapping))


def _model(mapping: Mapping, seed: int | None, steps: Steps, max_code: int) -> ChipModel:
    cells = {m.index: program(mapping, m, seed) for m in mapping.layers}
    adc = {
        m.index: adc_settings(mapping, m, steps, max_code, cells[m.index], seed)
        for m in mapping.layers
    }
    model = ChipModel(mapping, cells, adc, is_ideal=seed is None)
    # Here, before several threads ask for it.
    assert len(model.vectors) == len(cells)
    return model


def bytes_per_image(network: Network) -> int:
    """Working memory of one image in a batch: potentials and spikes of all layers; accumulators and
    kept currents of the largest one, and the codes that go into them; windows and lists of the
    layer with most inputs."""
    neurons = sum(int(np.prod(layer.output_shape)) for layer in network.layers)
    largest = max(int(np.prod(layer.output_shape)) for layer in network.layers)
    inputs = max(
        int(np.prod(network.layers[i].output_shape[1:])) * len(network.layers[i].matrix)
        for i in network.weight_layers
    )
    return 5 * neurons + 5 * 4 * largest + 2 * inputs


def run_batch(
    model: ChipModel,
    images: npt.NDArray[np.uint8],
    timesteps: int,
    observer: Observer | None = None,
    stop: StopRule | None = None,
    first_image: int = 0,
) -> FunctionalResult:
    """Run images for `timesteps` timesteps, or until `stop` lets each one exit.

    Parameters
    ----------
    model : a programmed chip.
    images : uint8 (n, c, h, w), or (n, t, c, h, w) for a network with ``encoding: events``.
    timesteps : T.
    observer : told of every layer's padded inputs and outputs.
    stop : exited images leave the batch at once.
    first_image : number of the first image in its set; what is drawn in a read depends on it.
    """
    return BatchRun(model, images, timesteps, observer, first_image).run(stop)


class BatchRun:
    """State of one batch: potentials and kept first-layer currents of the images still running."""

    def __init__(
        self,
        model: ChipModel,
        images: Array,
        timesteps: int,
        observer: Observer | None,
        first_image: int,
    ):
        network = model.mapping.network
        n, layers = len(images), len(network.layers)
        self.model, self.network = model, network
        self.images, self.timesteps, self.observer = images, timesteps, observer
        self.running, self.first_image = np.arange(n), first_image
        self.potentials: dict[int, Array] = {}
        self.kept: dict[int, tuple[Array, Counts]] = {}
        self.buffer: npt.NDArray[np.int32] = np.empty(0, np.int32)
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
            if layer.is_pool:
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
        # Reads without noise give the same currents at every timestep.
        static = self.network.sees_static_image(index) and (
            self.model.is_steady(index) or self.model.mapping.keeps_currents(index)
        )
        if static and index in self.kept:
            acc, counts = self.kept[index]
        else:
            acc, counts = self.crossbars(t, index, source)
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

    def crossbars(self, t: int, index: int, source: Array) -> tuple[Array, Counts]:
        placed = self.model.mapping.of(index)
        inputs = pad(source, placed.layer.padding)
        if self.observer is not None:
            self.observer.layer_input(placed, inputs)
        if self.model.reads_generally:
            cells, adc = self.model.cells[index], self.model.adc[index]
            numbers = self.first_image + self.running
            return read_general(self.model.mapping, placed, cells, adc, inputs, numbers, t)
        n, (c_out, height, width) = len(inputs), placed.layer.output_shape
        out = self.accumulators(index, (n, height, width, c_out))
        counts = np.empty((n, len(MEASURED_ACTIONS)), np.int64)
        vectors = self.model.vectors[index]
        if vectors is not None:
            vectors.read(inputs, out, counts)
        else:
            self.plain_crossbars(placed, inputs, out, counts)
        # Every column block sees the same word lines; the conductance already covers all columns.
        columns = placed.crossbars_per_row_block
        return out, counts * np.array([columns, 1, columns])

    def accumulators(self, index: int, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
        """Where a layer's currents go: into one buffer for all, unless they outlive the layer. New
        memory costs more than filling it."""
        layer = self.network.layers[index]
        if not layer.spikes or self.network.sees_static_image(index):
            return np.empty(shape, np.int32)
        size = int(np.prod(shape))
        if self.buffer.size < size:
            self.buffer = np.empty(size, np.int32)
        return self.buffer[:size].reshape(shape)

    def plain_crossbars(
        self, placed: LayerMapping, inputs: Array, out: Array, counts: Counts
    ) -> None:
        from imcsim.kernels.crossbar import read_crossbars

        layer, cells, adc = (
            placed.layer,
            self.model.cells[placed.index],
            self.model.adc[placed.index],
        )
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

    def neurons(self, t: int, index: int, acc: Array, outputs: list[Array]) -> Array:
        from imcsim.kernels.lif import fits_32_bits, lif_step, lif_step_32

        layer, neuron = self.network.layers[index], self.network.neuron
        assert layer.threshold is not None and layer.bias is not None
        n, channels = len(acc), layer.output_shape[0]
        if index not in self.potentials:
            wide = np.int32 if neuron.membrane_bits <= 32 else np.int64
            self.potentials[index] = np.zeros(acc.shape, wide)
        identity: Array = np.zeros((0, 1, channels), np.uint8)
        current: Array = np.zeros(channels, np.int32)
        if layer.residual is not None and not self.network.layers[layer.residual].sends_sums:
            assert layer.residual_current is not None
            identity = np.ascontiguousarray(outputs[layer.residual]).reshape(n, -1, channels)
            current = layer.residual_current
        largest = int(np.abs(layer.bias.astype(np.int64)).max() + np.abs(current).max())
        fits = fits_32_bits(
            channels, neuron.leak_multiplier, neuron.fraction_bits, neuron.membrane_bits, largest
        )
        spikes = np.empty(acc.shape, np.uint8)
        saturated, sent = np.empty(n, np.int64), np.empty(n, np.int64)
        advance: Callable[..., None] = lif_step_32 if fits else lif_step
        advance(
            self.potentials[index].reshape(n, -1, channels), acc.reshape(n, -1, channels),
            identity, current, layer.threshold, layer.bias,
            neuron.leak_multiplier, neuron.leak_shift, neuron.fraction_bits,
            neuron.membrane_bits, neuron.reset == "hard", spikes.reshape(n, -1, channels),
            saturated, sent,
        )  # fmt: skip
        self.result.saturations[self.running, t, index] = saturated
        self.result.spikes[self.running, t, index] = sent
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
    if not padding:
        return np.ascontiguousarray(source)
    n, height, width, channels = source.shape
    padded = np.zeros((n, height + 2 * padding, width + 2 * padding, channels), source.dtype)
    padded[:, padding:-padding, padding:-padding] = source
    return padded


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
