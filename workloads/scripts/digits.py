"""Make ``digits.npz``: a tiny spiking network for 8×8 handwritten digits, trained here in numpy.

    python workloads/scripts/digits.py -o workloads/digits.npz

Network: conv 16, LIF, 2×2 average pool, conv 32, LIF, 2×2 average pool, linear 10; T = 4.
Training: gradients through time with the triangular surrogate ``max(0, 1 − |v − V_th|)`` (Li et
al., DAC 2023, Eq. (4)), cross entropy of the mean class score (Eq. (9)), Adam. Images:
scikit-learn's copy of the UCI optical digits test set. Half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imcsim.functional.thresholds import calibrate_all, exit_accuracies, static_accuracies
from imcsim.network.float_network import FloatLayer, FloatNetwork, run_float
from imcsim.network.quantize import quantize
from imcsim.network.reference import run_reference
from imcsim.network.workload import Workload, write_workload

SEED = 2023
T = 4
TAU = np.float32(0.5)
TRAIN, HELD_OUT = 1197, 200
"""Images for training and for calibration; the other 400 are the test set."""
EPOCHS, BATCH, RATE = 40, 64, 2e-3
GOLDEN = 16

Parameters = dict[str, np.ndarray]


def columns_of(x: np.ndarray) -> np.ndarray:
    """3×3 windows of x (n, c, h, w), zero padded: (n, h, w, c·9)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    n, c, h, w = x.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def convolve(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((columns @ weight.reshape(len(weight), -1).T).transpose(0, 3, 1, 2))


def pooled(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5), dtype=np.float32)


def pooled_backward(gradient: np.ndarray) -> np.ndarray:
    return gradient.repeat(2, axis=2).repeat(2, axis=3) / np.float32(4)


class Lif:
    """A layer of neurons that remembers what back-propagation through time needs."""

    def __init__(self) -> None:
        self.u: np.ndarray | float = 0.0
        self.trace: list[tuple[np.ndarray, np.ndarray]] = []
        self.gradient: np.ndarray | float = 0.0

    def forward(self, current: np.ndarray) -> np.ndarray:
        v = TAU * self.u + current
        spikes = (v > 1).astype(np.float32)
        self.trace.append((v, spikes))
        self.u = v * (1 - spikes)
        return spikes

    def backward(self, spike_gradient: np.ndarray) -> np.ndarray:
        """Gradient of the current at the latest timestep not yet treated."""
        v, spikes = self.trace.pop()
        surrogate = np.maximum(0, 1 - np.abs(v - 1))
        # u' = v (1 − s): the reset passes gradient to v directly and through the spike.
        gradient_v = self.gradient * (1 - spikes) + (spike_gradient - self.gradient * v) * surrogate
        self.gradient = TAU * gradient_v
        return gradient_v


def loss_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient of the cross entropy of the mean score over T with respect to each timestep's
    scores (n, t, k).

    Only the last timestep is trained (Eq. (9)): with Eq. (10) so small a task is solved at t = 1,
    and an exit policy would have nothing to decide.
    """
    mean = logits.mean(axis=1)
    p = np.exp(mean - mean.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return np.repeat(p[:, None] / np.float32(T * len(labels)), T, axis=1)


def gradients(p: Parameters, x: np.ndarray, labels: np.ndarray) -> Parameters:
    """Forward over T timesteps, then backward through layers and time."""
    lif1, lif2 = Lif(), Lif()
    columns1 = columns_of(x)
    current1 = convolve(columns1, p["w1"]) + p["b1"][:, None, None]
    columns2, flat, logits = [], [], []
    for _ in range(T):
        columns2.append(columns_of(pooled(lif1.forward(current1))))
        spikes2 = lif2.forward(convolve(columns2[-1], p["w2"]) + p["b2"][:, None, None])
        flat.append(pooled(spikes2).reshape(len(x), -1))
        logits.append(flat[-1] @ p["w3"].T + p["b3"])
    d_logits = loss_gradient(np.stack(logits, axis=1), labels)
    out = {key: np.zeros_like(value) for key, value in p.items()}
    flipped = np.ascontiguousarray(p["w2"].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    for t in reversed(range(T)):
        out["w3"] += d_logits[:, t].T @ flat[t]
        out["b3"] += d_logits[:, t].sum(axis=0)
        d_flat = (d_logits[:, t] @ p["w3"]).reshape(len(x), -1, 2, 2)
        d_current2 = lif2.backward(pooled_backward(d_flat))
        accumulate_convolution(out, "2", d_current2, columns2[t])
        d_pooled = convolve(columns_of(d_current2), flipped)
        accumulate_convolution(out, "1", lif1.backward(pooled_backward(d_pooled)), columns1)
    return out


def accumulate_convolution(
    out: Parameters, k: str, d_current: np.ndarray, columns: np.ndarray
) -> None:
    """Add the gradients of a convolution's weight and bias at one timestep."""
    flat = d_current.transpose(1, 0, 2, 3).reshape(d_current.shape[1], -1)
    d_weight = flat @ columns.reshape(-1, columns.shape[-1])
    out[f"w{k}"] += d_weight.reshape(out[f"w{k}"].shape)
    out[f"b{k}"] += flat.sum(axis=1)


def train(x: np.ndarray, labels: np.ndarray) -> Parameters:
    """Adam (Kingma and Ba, 2015) with a cosine schedule."""
    rng = np.random.default_rng(SEED)
    shapes = {"w1": (16, 1, 3, 3), "w2": (32, 16, 3, 3), "w3": (10, 128)}
    p = {key: rng.normal(0, np.prod(s[1:]) ** -0.5, s) for key, s in shapes.items()}
    p |= {f"b{key[1]}": np.zeros(s[0]) for key, s in shapes.items()}
    p = {key: value.astype(np.float32) for key, value in p.items()}
    first = {key: np.zeros_like(value) for key, value in p.items()}
    second = {key: np.zeros_like(value) for key, value in p.items()}
    batches = len(x) // BATCH
    for step in range(EPOCHS * batches):
        if step % batches == 0:
            order = rng.permutation(len(x))
        rows = order[step % batches * BATCH :][:BATCH]
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * batches)))
        for key, gradient in gradients(p, x[rows], labels[rows]).items():
            first[key] += 0.1 * (gradient - first[key])
            second[key] += 0.001 * (gradient**2 - second[key])
            corrected = second[key] / (1 - 0.999 ** (step + 1))
            update = first[key] / (1 - 0.9 ** (step + 1)) / (np.sqrt(corrected) + 1e-8)
            p[key] -= (rate * update).astype(np.float32)
    return p


def float_network(p: Parameters, mean: float, std: float) -> FloatNetwork:
    def conv(k: int, source: int) -> FloatLayer:
        return FloatLayer(
            f"conv{k}", "conv", source, 3, 1, 1, spikes=True, weight=p[f"w{k}"], bias=p[f"b{k}"]
        )

    layers = (
        conv(1, -1),
        FloatLayer("pool1", "avg_pool", 0, 2, 2),
        conv(2, 1),
        FloatLayer("pool2", "avg_pool", 2, 2, 2),
        FloatLayer("fc", "linear", 3, weight=p["w3"], bias=p["b3"]),
    )
    return FloatNetwork(
        "digits", (1, 8, 8), 10, T, layers, np.array([mean]), np.array([std]), float(TAU)
    )


def load() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (1797, 1, 8, 8) in 0..240 and int64 labels, in a fixed shuffled order."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(images))
    pixels = (images[order] * 15).astype(np.uint8).reshape(-1, 1, 8, 8)
    return pixels, labels[order].astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()

    images, labels = load()
    mean = round(float(images[:TRAIN].mean() / 255), 4)
    std = round(float(images[:TRAIN].std() / 255), 4)
    x = ((images / 255 - mean) / std).astype(np.float32)
    real = float_network(train(x[:TRAIN], labels[:TRAIN]), mean, std)
    network = quantize(real)
    held_out, test = slice(TRAIN, TRAIN + HELD_OUT), slice(TRAIN + HELD_OUT, None)
    logits = run_reference(network, images).logits
    theta = calibrate_all(logits[held_out], labels[held_out], network.logit_scale)
    accuracies = {
        "float": {"shipped_400": static_accuracies(run_float(real, images[test]), labels[test])},
        "integer": {"shipped_400": static_accuracies(logits[test], labels[test])},
        "exits_shipped_400": exit_accuracies(
            logits[test], labels[test], network.logit_scale, theta
        ),
    }
    workload = Workload(
        network=network,
        images=images[test],
        labels=labels[test],
        calibration_images=images[held_out],
        calibration_labels=labels[held_out],
        golden_logits=logits[test][:GOLDEN].astype(np.int32),
        theta=theta,
        accuracies=accuracies,
        provenance={
            "made_by": "workloads/scripts/digits.py",
            "images": "Optical Recognition of Handwritten Digits, test set (E. Alpaydin and "
            "C. Kaynak, UCI Machine Learning Repository, 1998), as scikit-learn ships it; "
            "pixels × 15",
            "calibration": "200 images that were neither trained on nor are shipped as test images",
            "theta": "calibrated on the same 200 images: as few timesteps as possible at the "
            "accuracy of T = 4",
        },
    )
    write_workload(options.out, workload)
    print(network.neuron)
    for name, value in accuracies.items():
        print(name, value)
    print("theta", theta)


if __name__ == "__main__":
    main()
