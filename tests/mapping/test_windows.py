from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imcsim.mapping.placement import line_buffer_bytes, pixel_bytes
from imcsim.mapping.windows import first_and_last_window, used_positions
from imcsim.network.layers import Layer


def convolution(
    height: int, width: int, kernel: int, stride: int, padding: int, channels: int = 8
) -> Layer:
    out_h = (height + 2 * padding - kernel) // stride + 1
    out_w = (width + 2 * padding - kernel) // stride + 1
    return Layer(
        name="conv", kind="conv", source=-1, input_shape=(channels, height, width),
        output_shape=(1, out_h, out_w), input_min=0, input_max=1,
        kernel=kernel, stride=stride, padding=padding, spikes=True,
    )  # fmt: skip


CONVOLUTIONS = st.builds(
    convolution, st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 4),
    st.integers(0, 4),
).filter(lambda layer: min(layer.output_shape) > 0)  # fmt: skip


def covered(layer: Layer) -> list[set[int]]:
    """Input positions of each window, in raster order."""
    _, height, width = layer.input_shape
    _, out_h, out_w = layer.output_shape
    k_h, k_w = layer.window
    return [
        {
            y * width + x
            for y in range(
                oy * layer.stride - layer.padding, oy * layer.stride - layer.padding + k_h
            )
            for x in range(
                ox * layer.stride - layer.padding, ox * layer.stride - layer.padding + k_w
            )
            if 0 <= y < height and 0 <= x < width
        }
        for oy in range(out_h)
        for ox in range(out_w)
    ]


@given(CONVOLUTIONS)
def test_first_and_last_window_equal_a_search_over_all_windows(layer: Layer) -> None:
    windows = covered(layer)
    first, last = first_and_last_window(layer)
    for position in range(layer.input_shape[1] * layer.input_shape[2]):
        users = [w for w, positions in enumerate(windows) if position in positions] or [-1]
        assert (first[position], last[position]) == (users[0], users[-1])
    assert used_positions(layer) == len(set().union(*windows))


@given(CONVOLUTIONS)
def test_the_line_buffer_holds_what_every_window_needs(layer: Layer) -> None:
    windows = covered(layer)
    arrived: set[int] = set()
    used = set().union(*windows)
    for w, positions in enumerate(windows):
        # Positions arrive in raster order, so a window's last one brings along all before it.
        newest = max(positions | arrived, default=-1)
        arrived = {p for p in used if p <= newest}
        alive = {p for p in arrived if any(p in later for later in windows[w:])}
        assert len(alive) * pixel_bytes(layer) <= line_buffer_bytes(layer)


def test_a_linear_layer_uses_all_of_its_input_in_its_only_window() -> None:
    layer = Layer(
        name="fc", kind="linear", source=-1, input_shape=(4, 3, 2), output_shape=(5, 1, 1),
        input_min=0, input_max=4,
    )  # fmt: skip
    first, last = first_and_last_window(layer)
    assert first.tolist() == last.tolist() == [0] * 6
    # 4 channels of 3 bits are 12 bits: two bytes per position.
    assert (pixel_bytes(layer), line_buffer_bytes(layer)) == (2, 12)


@pytest.mark.parametrize(("stride", "used"), [(1, 25), (3, 16)])
def test_positions_between_windows_are_not_sent(stride: int, used: int) -> None:
    assert used_positions(convolution(5, 5, kernel=2, stride=stride, padding=0)) == used
