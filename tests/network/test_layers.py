"""What a layer says about itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.small_networks import max_pool_network, random_workload


@pytest.mark.parametrize("index", [0, 3])
def test_matrix_rows_run_over_kernel_positions_and_then_channels(index: int) -> None:
    """Row (ky·k_w + kx)·c_in + c, of a convolution and of a linear layer with a 3×3 input."""
    layer = max_pool_network().layers[index]
    assert layer.weight is not None
    c_in, (height, width) = layer.input_shape[0], layer.window
    for c_out, c, y, x in np.ndindex(layer.output_shape[0], c_in, height, width):
        if layer.kind == "conv":
            weight = layer.weight[c_out, c, y, x]
        else:
            weight = layer.weight[c_out, (c * height + y) * width + x]
        assert layer.matrix[(y * width + x) * c_in + c, c_out] == weight
    assert not layer.matrix.flags.writeable


def test_a_pool_has_no_matrix_and_no_neurons() -> None:
    pool = max_pool_network().layers[1]
    with pytest.raises(TypeError, match=r"pool1 \(max_pool\) has no weights"):
        _ = pool.matrix
    assert pool.neurons == 0


def test_neurons_are_counted_per_output_position() -> None:
    network = max_pool_network()
    assert [layer.neurons for layer in network.layers] == [5 * 36, 0, 7 * 9, 0]
    assert network.weight_layers == (0, 2, 3)


def test_a_workload_is_called_what_its_network_is_called() -> None:
    assert random_workload(max_pool_network(name="abc")).name == "abc"
