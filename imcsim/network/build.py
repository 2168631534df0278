"""From a list of layers to a `Network`: every shape and range is derived here, and every rule is
checked here.

The workload reader and the converters both come through `build_network`, so a network that exists
is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from imcsim.errors import WorkloadError
from imcsim.network.layers import IMAGE, Layer, Network, Neuron, Shape

MAX_ELEMENTS = 2**31
"""Largest number of elements of any array or feature map; far above any real network."""
WEIGHT_MAX = 127
"""Weights are symmetric int8: −128 is refused, because differential cells cannot hold it."""

Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Dimension = Annotated[int, Field(ge=1, le=65536)]


class LayerSpec(BaseModel):
    """What has to be said about a layer; everything else about it is derived."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name
    kind: Literal["conv", "linear", "max_pool", "avg_pool"]
    source: int = Field(ge=IMAGE)
    channels: Dimension | None = None
    """Output channels of a convolution or linear layer."""
    kernel: Dimension = 1
    stride: Dimension = 1
    padding: int = Field(default=0, ge=0, le=65536)
    spikes: bool = False
    residual: int | None = Field(default=None, ge=0)


def spec_of(layer: Layer) -> LayerSpec:
    """The inverse of `derive_layers`: what has to be written down about `layer`."""
    return LayerSpec(
        name=layer.name,
        kind=layer.kind,
        source=layer.source,
        channels=None if layer.is_pool else layer.output_shape[0],
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        spikes=layer.spikes,
        residual=layer.residual,
    )


@dataclass(frozen=True)
class _Output:
    """What a layer (or the image) hands on: its shape and the range of its integers; None for
    accumulators.
    """

    shape: Shape
    low: int | None
    high: int | None

    @property
    def is_binary(self) -> bool:
        return (self.low, self.high) == (0, 1)


def image_range(input_table: npt.NDArray[np.int8]) -> tuple[int, int]:
    """Smallest and largest integer that may enter the first layer: 8 bits signed, or 0..max if none
    is negative.
    """
    if int(input_table.min()) < 0:
        return -128, 127
    return 0, max(int(input_table.max()), 1)


def derive_layers(
    image_shape: Shape, input_range: tuple[int, int], specs: Sequence[LayerSpec]
) -> tuple[Layer, ...]:
    """Derive shapes and input ranges of all layers, still without arrays.

    Raises
    ------
    WorkloadError
        If a layer refers to an unknown or later layer, reads what it cannot read, or has no output.
    """
    if not specs:
        raise WorkloadError("layers: the network has none")
    layers: list[Layer] = []
    outputs = [_Output(image_shape, *input_range)]
    for i, spec in enumerate(specs):
        where = f"layers[{i}] ({spec.name})"
        if spec.source >= i:
            raise WorkloadError(f"{where}: source: {_not_earlier(spec.source, i, len(specs))}")
        layer = _derive_layer(spec, outputs[spec.source + 1], where)
        _check_residual(spec, layer, i, outputs, len(specs), where)
        layers.append(layer)
        outputs.append(_output_of(layer))
    _check_ends(layers)
    return tuple(layers)


def _not_earlier(index: int, i: int, count: int) -> str:
    if index >= count:
        return f"there is no layer {index} (the network has {count})"
    return f"layer {index} comes later or is the layer itself; layers stand in topological order"


def _derive_layer(spec: LayerSpec, source: _Output, where: str) -> Layer:
    if source.low is None or source.high is None:
        raise WorkloadError(
            f"{where}: source: layer {spec.source} has no neurons; its accumulators cannot be read"
        )
    is_pool = spec.kind in ("max_pool", "avg_pool")
    if is_pool:
        _check_pool(spec, source, where)
    elif spec.channels is None:
        raise WorkloadError(f"{where}: channels: missing (a {spec.kind} layer needs it)")
    if spec.kind == "linear" and (spec.kernel, spec.stride, spec.padding) != (1, 1, 0):
        raise WorkloadError(f"{where}: a linear layer has no kernel, stride or padding")
    c, h, w = source.shape
    if spec.kind == "linear":
        h_out = w_out = 1
    else:
        h_out = (h + 2 * spec.padding - spec.kernel) // spec.stride + 1
        w_out = (w + 2 * spec.padding - spec.kernel) // spec.stride + 1
    if h_out < 1 or w_out < 1:
        raise WorkloadError(
            f"{where}: kernel: a window of {spec.kernel}×{spec.kernel} does not fit the "
            f"{h}×{w} input"
        )
    shape = (spec.channels or c, h_out, w_out)
    if shape[0] * h_out * w_out >= MAX_ELEMENTS:
        raise WorkloadError(f"{where}: the output of shape {shape} is absurdly large")
    return Layer(
        name=spec.name,
        kind=spec.kind,
        source=spec.source,
        input_shape=source.shape,
        output_shape=shape,
        input_min=source.low,
        input_max=source.high,
        kernel=spec.kernel,
        stride=spec.stride,
        padding=spec.padding,
        spikes=spec.spikes,
        residual=spec.residual,
    )


def _check_pool(spec: LayerSpec, source: _Output, where: str) -> None:
    if spec.channels is not None or spec.spikes or spec.residual is not None or spec.padding:
        raise WorkloadError(f"{where}: a pool has no channels, neurons, residual or padding")
    if spec.kind == "max_pool" and not source.is_binary:
        raise WorkloadError(
            f"{where}: max_pool needs binary inputs (it is an OR of spikes), "
            f"layer {spec.source} gives {source.low}..{source.high}"
        )
    if source.low != 0:
        raise WorkloadError(f"{where}: avg_pool cannot count signed inputs")


def _check_residual(
    spec: LayerSpec, layer: Layer, i: int, outputs: list[_Output], count: int, where: str
) -> None:
    if spec.residual is None:
        return
    if not spec.spikes:
        raise WorkloadError(f"{where}: residual: only a layer with neurons can add one")
    if spec.residual >= i:
        raise WorkloadError(f"{where}: residual: {_not_earlier(spec.residual, i, count)}")
    added = outputs[spec.residual + 1]
    if added.shape != layer.output_shape:
        raise WorkloadError(
            f"{where}: residual: layer {spec.residual} has shape {added.shape}, "
            f"this layer's output {layer.output_shape}"
        )
    if added.low is not None and not added.is_binary:
        raise WorkloadError(
            f"{where}: residual: layer {spec.residual} gives counts; only spikes or "
            "accumulators can be added"
        )


def _output_of(layer: Layer) -> _Output:
    if layer.kind == "avg_pool":
        return _Output(layer.output_shape, 0, layer.kernel**2 * layer.input_max)
    if layer.kind == "max_pool" or layer.spikes:
        return _Output(layer.output_shape, 0, 1)
    return _Output(layer.output_shape, None, None)


def _check_ends(layers: list[Layer]) -> None:
    """The last layer is the classifier; every other layer is read by somebody."""
    if layers[-1].kind != "linear" or layers[-1].spikes:
        raise WorkloadError(
            f"layers[{len(layers) - 1}] ({layers[-1].name}): the last layer must be linear without "
            "neurons (its accumulators are the class scores)"
        )
    read = {layer.source for layer in layers} | {layer.residual for layer in layers}
    for i, layer in enumerate(layers[:-1]):
        if i not in read:
            raise WorkloadError(f"layers[{i}] ({layer.name}): no layer reads its output")


def expected_arrays(layers: Sequence[Layer]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Names, dtypes and shapes of the arrays that belong to `layers`, in the order of the file."""
    expected: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for i, layer in enumerate(layers):
        if layer.is_pool:
            continue
        c_out = layer.output_shape[0]
        c_in, h, w = layer.input_shape
        flat = layer.kind == "linear"
        shape = (c_out, c_in * h * w) if flat else (c_out, c_in, layer.kernel, layer.kernel)
        expected[f"L{i}.weight"] = (np.dtype(np.int8), shape)
        expected[f"L{i}.scale"] = (np.dtype(np.float64), (c_out,))
        expected[f"L{i}.bias"] = (np.dtype(np.int32), (c_out,))
        if layer.spikes:
            expected[f"L{i}.threshold"] = (np.dtype(np.int32), (c_out,))
        if layer.residual is not None and not _is_accumulator(layers[layer.residual]):
            expected[f"L{i}.residual_current"] = (np.dtype(np.int32), (c_out,))
    return expected


def _is_accumulator(layer: Layer) -> bool:
    return not layer.is_pool and not layer.spikes


def check_array(
    key: str,
    found: tuple[np.dtype[Any], tuple[int, ...]],
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
) -> None:
    """Raise a `WorkloadError` unless dtype and shape are the ones expected."""
    if found[0] != np.dtype(dtype):
        raise WorkloadError(f"{key}: dtype {found[0]}, expected {np.dtype(dtype)}")
    if found[1] != shape:
        raise WorkloadError(f"{key}: shape {found[1]}, expected {shape}")


def check_neuron(neuron: Neuron) -> None:
    """Raise a `WorkloadError` unless the neuron's arithmetic is sound and fits 64 bits."""
    m, n = neuron.leak_multiplier, neuron.leak_shift
    if not 0 <= n <= 16:
        raise WorkloadError(f"neuron.leak_shift: {n} is not in 0..16")
    if not 1 <= m <= 2**n:
        raise WorkloadError(
            f"neuron.leak_multiplier: {m} is not in 1..{2**n} (0 < τ = m / 2^n ≤ 1)"
        )
    if neuron.reset not in ("hard", "soft"):
        raise WorkloadError(f"neuron.reset: {neuron.reset!r} is neither 'hard' nor 'soft'")
    if not 0 <= neuron.fraction_bits <= 16:
        raise WorkloadError(f"neuron.fraction_bits: {neuron.fraction_bits} is not in 0..16")
    if not 4 <= neuron.membrane_bits <= 32:
        raise WorkloadError(f"neuron.membrane_bits: {neuron.membrane_bits} is not in 4..32")


def build_network(
    *,
    name: str,
    image_shape: Shape,
    classes: int,
    timesteps: int,
    encoding: Literal["direct", "events"],
    neuron: Neuron,
    input_table: npt.NDArray[np.int8],
    logit_scale: float,
    specs: Sequence[LayerSpec],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> Network:
    """Build a valid network from its layers' specifications and arrays.

    Parameters
    ----------
    input_table : int8 (channels, 256)
        Integer that enters the first layer for each pixel value.
    logit_scale : float
        Real value of one LSB of the class scores; the classifier's `scale`.
    arrays : mapping
        ``L{i}.weight`` and so on, as `expected_arrays` names them. They are frozen (made
        read-only).

    Raises
    ------
    WorkloadError
        One line that names the key and the reason.
    """
    check_neuron(neuron)
    check_array("input_table", _kind(input_table), np.int8, (image_shape[0], 256))
    layers = derive_layers(image_shape, image_range(input_table), specs)
    if layers[-1].output_shape[0] != classes:
        raise WorkloadError(
            f"classes: {classes}, but the classifier has {layers[-1].output_shape[0]} outputs"
        )
    expected = expected_arrays(layers)
    for key, (dtype, shape) in expected.items():
        if key not in arrays:
            raise WorkloadError(f"{key}: missing")
        check_array(key, _kind(arrays[key]), dtype, shape)
    filled = [_fill(i, layer, expected, arrays) for i, layer in enumerate(layers)]
    for i, layer in enumerate(filled):
        _check_values(i, layer, neuron)
    _check_shortcuts(filled)
    scale = filled[-1].scale
    if scale is None or not np.all(scale == logit_scale):
        raise WorkloadError(
            f"L{len(filled) - 1}.scale: the classifier has one scale, logit_scale = {logit_scale:g}"
        )
    return Network(
        name=name,
        image_shape=image_shape,
        classes=classes,
        timesteps=timesteps,
        encoding=encoding,
        layers=tuple(filled),
        neuron=neuron,
        input_table=_frozen(input_table),
        logit_scale=logit_scale,
    )


def _kind(array: npt.NDArray[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    return array.dtype, array.shape


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C")
        array.setflags(write=False)
    return array


def _fill(
    i: int, layer: Layer, expected: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> Layer:
    prefix = f"L{i}."
    mine = [key for key in expected if key.startswith(prefix)]
    fields: dict[str, Any] = {key.removeprefix(prefix): _frozen(arrays[key]) for key in mine}
    return replace(layer, **fields)


def _check_values(i: int, layer: Layer, neuron: Neuron) -> None:
    if layer.weight is None or layer.scale is None or layer.bias is None:
        return
    if int(layer.weight.min()) < -WEIGHT_MAX:
        raise WorkloadError(f"L{i}.weight: −128 found; weights are symmetric, −127..127")
    if not np.all(np.isfinite(layer.scale)) or not np.all(layer.scale > 0):
        raise WorkloadError(f"L{i}.scale: NaN, infinite or not positive")
    largest = accumulator_bound(layer) + (0 if layer.spikes else int(np.abs(layer.bias).max()))
    if largest >= 2**31:
        raise WorkloadError(f"L{i}.weight: the accumulators could overflow 32 bits ({largest})")
    if layer.threshold is None:
        return
    # A clipped v never exceeds 2^(W−1) − 1, so a threshold there could never be passed.
    highest = 2 ** (neuron.membrane_bits - 1) - 2
    if int(layer.threshold.min()) < 1 or int(layer.threshold.max()) > highest:
        raise WorkloadError(
            f"L{i}.threshold: must be in 1..{highest} for {neuron.membrane_bits}-bit membranes, "
            f"found {layer.threshold.min()}..{layer.threshold.max()}"
        )


def accumulator_bound(layer: Layer) -> int:
    """Largest magnitude that an accumulator of `layer` could reach with any weights and inputs."""
    c, _, _ = layer.input_shape
    k_h, k_w = layer.window
    return c * k_h * k_w * WEIGHT_MAX * max(-layer.input_min, layer.input_max)


def _check_shortcuts(layers: Sequence[Layer]) -> None:
    """A shortcut's bias belongs to the layer that adds it, where it keeps its fraction bits."""
    for i, layer in enumerate(layers[:-1]):
        if _is_accumulator(layer) and layer.bias is not None and layer.bias.any():
            raise WorkloadError(
                f"L{i}.bias: must be 0, a shortcut's bias is added where its result is added"
            )
