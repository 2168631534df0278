"""Action counts that follow from the mapping alone: what a timestep costs whatever the spikes are.

Rules, per window and timestep (b = serial input bits):

- every crossbar of a layer is read b times, more often if a read drives fewer word lines than a
  crossbar has; its shift-and-add joins its slices, input bits and groups of rows;
- a reference column's sum is subtracted from every sum of its crossbar, in an adder like the PE's;
- it hands each partial sum to its PE's accumulator, the PE its sums to the tile's, the tile its
  sums to the global accumulator in the home tile;
- a tile receives each input position once (line buffer), every PE fetches its part of each window
  from it;
- every sum is carried at the layer's exact width (`LayerMapping.partial_sum_bits`), a crossbar's
  own sums at the width of their codes, slices and input bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imcsim.activity import FIXED_ACTIONS
from imcsim.mapping import LayerMapping, Mapping
from imcsim.mapping.placement import LOGIT_BITS, crossbar_sum_bits
from imcsim.mapping.windows import used_positions
from imcsim.network.layers import IMAGE

Counts = npt.NDArray[np.int64]


def fixed_counts(mapping: Mapping) -> tuple[Counts, Counts]:
    """Count the actions of one image and of one timestep.

    Returns
    -------
    once, step : int64 (layers, fixed actions)
        Once per image (load of a static image, membrane clear, and with ``dataflow.first_layer:
        once`` the reads of the first layer); in every timestep.
    """
    network, chip = mapping.network, mapping.chip
    once = [dict[str, int]() for _ in network.layers]
    step = [dict[str, int]() for _ in network.layers]
    image_bits = mapping.image_bits
    # A static image is loaded once, of events one frame per timestep.
    loading = step if network.encoding == "events" else once
    loading[0].update(image_load_bit=image_bits, global_buffer_write_bit=image_bits)
    for index, layer in enumerate(network.layers):
        if layer.is_pool:
            step[index]["pool"] = int(np.prod(layer.output_shape))
            continue
        placed = mapping.of(index)
        keeps_currents = mapping.keeps_currents(index)
        reading = once[index] if keeps_currents else step[index]
        _add(reading, _read_actions(mapping, placed))
        if layer.source == IMAGE:
            _add(reading, {"global_buffer_read_bit": image_bits})
        if keeps_currents:
            bits = placed.positions * placed.c_out * chip.lif.membrane_bits
            _add(once[index], {"current_write_bit": bits})
            _add(step[index], {"current_read_bit": bits})
        _add(step[index], _neuron_actions(mapping, index))
        if layer.spikes:
            _add(once[index], {"membrane_write_bit": layer.neurons * chip.lif.membrane_bits})
    return _table(once), _table(step)


def _read_actions(mapping: Mapping, placed: LayerMapping) -> dict[str, int]:
    """From the arrival of the inputs to the sums in the home tile."""
    chip, layer = mapping.chip, placed.layer
    windows, bits, width = placed.positions, layer.input_bits, placed.partial_sum_bits
    crossbar_sums = int(placed.crossbar_outputs.sum())
    pe_inputs = int(placed.pe_rows.sum()) * bits
    sum_bits = crossbar_sum_bits(mapping, placed)
    subtracted = crossbar_sums * sum_bits if mapping.slicing.has_reference else 0
    pixel_bits = layer.input_shape[0] * bits
    pixels = used_positions(layer)
    source = mapping.home(layer.source)
    tiles = range(placed.first_tile, placed.first_tile + placed.tiles)
    sums_out = [int(n) * width * windows for n in placed.tile_outputs]
    hop_bits = sum(pixels * pixel_bits * mapping.hops(source, tile) for tile in tiles)
    hop_bits += sum(
        bits_out * mapping.hops(tile, placed.first_tile)
        for bits_out, tile in zip(sums_out, tiles, strict=True)
    )
    packet_bits = pixels * pixel_bits * sum(mapping.hops(source, tile) > 0 for tile in tiles) + sum(
        sums_out[1:]
    )
    return {
        "crossbar_read": placed.reads,
        "shift_add": placed.reads * chip.conversions_per_read,
        "popcount_bit": windows * pe_inputs if mapping.slicing.offset else 0,
        "pe_add_bit": windows * (crossbar_sums * width + subtracted),
        "tile_add_bit": windows * int(placed.pe_outputs.sum()) * width,
        "global_add_bit": windows * int(placed.tile_outputs.sum()) * width,
        "pe_buffer_write_bit": windows * pe_inputs,
        "pe_buffer_read_bit": windows * pe_inputs,
        "tile_buffer_write_bit": pixels * pixel_bits * placed.tiles,
        "tile_buffer_read_bit": windows * pe_inputs,
        "pe_htree_bit": windows
        * (placed.rows * placed.crossbars_per_row_block * bits + crossbar_sums * sum_bits),
        "tile_htree_bit": windows * (pe_inputs + int(placed.pe_outputs.sum()) * width),
        "link_bit": hop_bits,
        "router_bit": hop_bits + packet_bits,
    }


def _neuron_actions(mapping: Mapping, index: int) -> dict[str, int]:
    """What happens to the finished sums of a layer: neurons, residual adds, or the way to the σ-E
    module."""
    layer, width = mapping.network.layers[index], mapping.chip.lif.membrane_bits
    actions: dict[str, int] = {}
    if layer.spikes:
        _add(actions, {
            "lif_update": layer.neurons,
            "membrane_read_bit": layer.neurons * width,
            "membrane_write_bit": layer.neurons * width,
        })  # fmt: skip
    if layer.residual is not None:
        values = int(np.prod(layer.output_shape))
        hops = mapping.hops(mapping.home(layer.residual), mapping.home(index))
        bits = values * mapping.output_bits(layer.residual)
        _add(actions, {"global_add_bit": values * width, **_carried(bits, hops)})
    if index == len(mapping.network.layers) - 1:
        bits = mapping.network.classes * LOGIT_BITS
        _add(actions, {"global_buffer_write_bit": bits, "global_buffer_read_bit": bits})
        _add(actions, _carried(bits, mapping.hops(mapping.home(index), 0)))
    return actions


def _carried(bits: int, hops: int) -> dict[str, int]:
    """A packet passes one router more than links, and none if it stays in its tile."""
    return {"link_bit": bits * hops, "router_bit": bits * (hops + 1) if hops else 0}


def _add(target: dict[str, int], more: dict[str, int]) -> None:
    for action, count in more.items():
        target[action] = target.get(action, 0) + count


def _table(rows: list[dict[str, int]]) -> Counts:
    return np.array([[row.get(action, 0) for action in FIXED_ACTIONS] for row in rows], np.int64)
