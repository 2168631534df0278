"""Speed of the functional path: VGG-16 from input spikes to output spikes, on one thread.

    python benchmarks/functional.py [--workload FILE] [--density D] [--repeats N] [--batch N]

Every convolution is read through 64×64 crossbars (weights + 128 in two 4-bit slices, a 6-bit ADC
after every crossbar, ranges calibrated on the same inputs), with its LIF neurons and all activity
counts. The layers are timed one by one, by CPU time, and the medians added up.

- `spikes`: random binary inputs of the given density in every layer, the first one too, which is
  the job of the published comparison in docs/performance.md;
- `shipped`: what the shipped network's layers really see at its last timestep, the first layer's
  8-bit image being read once in T timesteps, as the simulator does;
- `avg pool`: the same stack with average pools: random spikes, counts 0..4 (3 bits, read serially)
  after a pool, and a random 8-bit image, once in T timesteps.

The yardstick is a plain float32 convolution of the same stack and inputs, without any converter:
torch where it is installed (the faster of its two memory layouts), else im2col and BLAS.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from imcsim.chip import load_chip
from imcsim.functional.adc import Steps
from imcsim.functional.calibration import HistogramObserver
from imcsim.functional.forward import BatchRun, ChipModel, build_model, ideal_model, pad, run_batch
from imcsim.functional.vector_reads import quantised, vector_layer
from imcsim.mapping import Mapping, map_network
from imcsim.network.layers import IMAGE, Network
from imcsim.network.workload import read_workload

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ROOT = Path(__file__).resolve().parents[1]
CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of each convolution of VGG-16; 0 is a 2×2 pool."""
Sources = dict[int, Any]
"""Inputs (n, h, w, c) of each weight layer, not padded."""


def random_vgg16(pool_kind: str, image_bits: int) -> Network:
    """VGG-16 for CIFAR-10 with random weights."""
    sys.path.insert(0, str(ROOT))
    from tests.small_networks import conv, linear, pool, random_network

    specs = [
        conv(f"conv{i}", i - 1, c) if c else pool(f"pool{i}", i - 1, pool_kind)
        for i, c in enumerate(CHANNELS)
    ]
    specs.append(linear("fc", len(specs) - 1, 10))
    return random_network(specs, (3, 32, 32), name="random", signed_image=image_bits == 8)


def random_sources(network: Network, density: float, batch: int, image_bits: int) -> Sources:
    """Random spikes everywhere; counts after an average pool, pixels where the image enters."""
    rng = np.random.default_rng(0)
    found: Sources = {}
    for index in convolutions(network):
        layer = network.layers[index]
        c, h, w = layer.input_shape
        if layer.source == IMAGE and image_bits == 8:
            found[index] = rng.integers(-128, 128, (batch, h, w, c)).astype(np.int8)
        else:
            of_pool = layer.input_max > 1 and layer.source != IMAGE
            drawn = rng.random((layer.input_max if of_pool else 1, batch, h, w, c)) < density
            found[index] = drawn.sum(axis=0, dtype=np.uint8)
    return found


def shipped_sources(network: Network, images: Any) -> Sources:
    """What every convolution sees at the last timestep, on an ideal chip."""

    class Outputs:
        def __init__(self) -> None:
            self.last: dict[int, Any] = {}

        def layer_input(self, placed: Any, inputs: Any) -> None:
            pass

        def layer_output(self, timestep: int, layer: int, output: Any) -> None:
            self.last[layer] = output

    seen = Outputs()
    chip = load_chip(ROOT / "arch" / "rram64.yaml", ["device.variation=0"])
    run_batch(ideal_model(map_network(network, chip)), images, network.timesteps, seen)
    encoded = np.ascontiguousarray(network.encode(images).transpose(0, 2, 3, 1))
    sources = {i: network.layers[i].source for i in convolutions(network)}
    return {i: encoded if s == IMAGE else seen.last[s] for i, s in sources.items()}


def convolutions(network: Network) -> list[int]:
    return [i for i in network.weight_layers if network.layers[i].kind == "conv"]


def calibrated(mapping: Mapping, sources: Sources) -> Steps:
    """ADC steps from the column sums that four of the inputs make."""
    observer = HistogramObserver(ideal_model(mapping))
    for index, source in sources.items():
        placed = mapping.of(index)
        observer.layer_input(placed, pad(source[:4], placed.layer.padding))
    return observer.ranges.steps(mapping.chip.adc.bits, mapping.chip.adc.percentile)


def seconds(action: Callable[[], Any], repeats: int) -> float:
    """Median CPU time [s]; the first run compiles and warms up."""
    action()
    times = []
    for _ in range(repeats):
        before = time.process_time()
        action()
        times.append(time.process_time() - before)
    return statistics.median(times)


def chips(network: Network, sources: Sources) -> dict[str, ChipModel]:
    """The kinds of cells."""
    arch, common = ROOT / "arch" / "rram64.yaml", ["adc.bits=6", "device.variation_model=device"]
    exact = map_network(network, load_chip(arch, [*common, "device.variation=0"]))
    noisy = map_network(network, load_chip(arch, [*common, "device.variation=0.2"]))
    steps = calibrated(exact, sources)
    reference = build_model(noisy, 0, steps)
    found = {"ideal cells, exact": build_model(exact, 0, steps)}
    for name, per_level in (("1/8", 8), ("1/16", 16)):
        fast = build_model(noisy, 0, steps)
        fast.__dict__["vectors"] = {
            m.index: vector_layer(
                m, noisy.slicing, quantised(fast.cells[m.index].levels, per_level),
                fast.cells[m.index].row_conductance, fast.adc[m.index],
            )
            for m in noisy.layers
        }  # fmt: skip
        found[f"20 % variation, {name} level"] = fast
    found["20 % variation, float32"] = reference
    return found


def read_all(model: ChipModel, sources: Sources, timesteps: int, repeats: int) -> float:
    """Milliseconds per image and timestep."""
    network = model.mapping.network
    batch = len(next(iter(sources.values())))
    total = 0.0
    for index, source in sources.items():
        empty = np.zeros((batch, *network.image_shape), np.uint8)
        state = BatchRun(model, empty, timesteps, None, 0)

        def layer(index: int = index, source: Any = source, state: BatchRun = state) -> None:
            state.kept.clear()
            state.weight_layer(0, index, source, [])

        multi_bit_image = network.layers[index].source == IMAGE and source.max() > 1
        total += seconds(layer, repeats) / (timesteps if multi_bit_image else 1)
    return 1e3 * total / batch


def convolve_all(network: Network, sources: Sources, timesteps: int, repeats: int) -> float:
    """Milliseconds per image and timestep of float32 convolutions."""
    total = 0.0
    for index, source in sources.items():
        layer = network.layers[index]
        image = layer.source == IMAGE and source.max() > 1
        weight = layer.weight.astype(np.float32)
        total += fastest(source.astype(np.float32), weight, repeats) / (timesteps if image else 1)
    return 1e3 * total / len(source)


def fastest(inputs: Any, weight: Any, repeats: int) -> float:
    """CPU time [s] of one 3×3 convolution with padding 1: inputs (n, h, w, c)."""
    if find_spec("torch") is None:
        matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)))

        def with_blas() -> None:
            windows = np.lib.stride_tricks.sliding_window_view(pad(inputs, 1), (3, 3), axis=(1, 2))
            windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, len(matrix)) @ matrix

        return seconds(with_blas, repeats)
    import torch

    torch.set_num_threads(1)
    x, w = torch.from_numpy(inputs.transpose(0, 3, 1, 2)), torch.from_numpy(weight)
    times = []
    for layout in (torch.contiguous_format, torch.channels_last):
        a, b = x.contiguous(memory_format=layout), w.contiguous(memory_format=layout)
        with torch.no_grad():
            times.append(
                seconds(lambda a=a, b=b: torch.nn.functional.conv2d(a, b, padding=1), repeats)
            )
    return min(times)


def limits() -> str:
    """What this machine could do: float32 products and memory reads of one core."""
    a = np.ones((2048, 2048), np.float32)
    gemm = 2 * 2048**3 / seconds(lambda: a @ a, 3) / 1e9
    big = np.ones(1 << 27, np.float32)
    read = big.nbytes / seconds(lambda: big.max(), 3) / 1e9
    return f"sgemm {gemm:.0f} GFLOP/s, memory reads {read:.0f} GB/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", type=Path, default=ROOT / "workloads" / "vgg16_cifar10.npz")
    parser.add_argument("--density", type=float, default=0.15, help="of random spikes")
    parser.add_argument("--repeats", type=int, default=7, help="measured runs of each layer")
    parser.add_argument("--batch", type=int, default=16, help="images at a time")
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):
        # Read when numpy is loaded, which has happened: start again.
        os.environ.update(dict.fromkeys(THREADS, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])
    jobs: dict[str, tuple[Network, Sources]] = {}
    spiking, averaging = random_vgg16("max_pool", 1), random_vgg16("avg_pool", 8)
    jobs["spikes"] = spiking, random_sources(spiking, options.density, options.batch, 1)
    if options.workload.exists():
        workload = read_workload(options.workload)
        network, images = workload.network, workload.images[: options.batch]
        jobs["shipped"] = network, shipped_sources(network, images)
    jobs["avg pool"] = averaging, random_sources(averaging, options.density, options.batch, 8)
    yardstick = "torch" if find_spec("torch") else "im2col and BLAS"
    print(f"one thread, CPU time, medians of {options.repeats} runs; {limits()}")
    print(f"{'job':10}{'cells':28}{'ms':>8}{'images/s':>10}{'ratio to ' + yardstick:>26}")
    for job, (network, sources) in jobs.items():
        timesteps = network.timesteps
        plain = convolve_all(network, sources, timesteps, options.repeats)
        print(f"{job:10}{'float32 convolution, no ADC':28}{plain:8.2f}{1e3 / plain:10.0f}")
        for name, model in chips(network, sources).items():
            spent = read_all(model, sources, timesteps, options.repeats)
            print(
                f"{job:10}{name:28}{spent:8.2f}{1e3 / spent:10.0f}{plain / spent:26.2f}", flush=True
            )


if __name__ == "__main__":
    main()
