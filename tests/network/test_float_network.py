"""The float forward pass against a scalar twin."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from imcsim.network.float_network import BatchNorm, FloatLayer, FloatNetwork, run_float


def tiny_float_network(
    pool: Literal["max_pool", "avg_pool"] = "avg_pool",
    reset: Literal["hard", "soft"] = "hard",
    tau: float = 0.5,
) -> FloatNetwork:
    """Stem, pool, a block with an identity and one with a 1×1 shortcut, classifier; 2×4×4 image."""
    rng = np.random.default_rng(11)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    norm = BatchNorm(normal(3) + 1, normal(3), normal(3), normal(3) ** 2 + 0.5)
    v_th = normal(5) ** 2 + 0.3
    conv: dict[str, Any] = {"kernel": 3, "padding": 1, "spikes": True}
    layers = (
        FloatLayer("stem", "conv", -1, weight=normal(3, 2, 3, 3), batch_norm=norm, **conv),
        FloatLayer("pool", pool, 0, kernel=2, stride=2),
        FloatLayer("a", "conv", 1, weight=normal(4, 3, 3, 3), bias=normal(4), v_th=0.5, **conv),
        FloatLayer("b", "conv", 2, weight=normal(4, 4, 3, 3), residual=2, **conv),
        FloatLayer("s", "conv", 3, weight=normal(5, 4, 1, 1), bias=normal(5)),
        FloatLayer("c", "conv", 3, weight=normal(5, 4, 3, 3), residual=4, v_th=v_th, **conv),
        FloatLayer("fc", "linear", 5, weight=normal(3, 20), bias=normal(3)),
    )  # fmt: skip
    return FloatNetwork(
        name="tiny",
        image_shape=(2, 4, 4),
        classes=3,
        timesteps=4,
        layers=layers,
        mean=np.array([0.4, 0.5]),
        std=np.array([0.2, 0.3]),
        tau=tau,
        reset=reset,
    )


def scalar_float(network: FloatNetwork, image: np.ndarray) -> list[list[float]]:
    """One image, one number at a time, batch norm not folded."""
    potentials: dict[tuple[int, ...], float] = {}
    logits = []
    x0 = [
        [[(p / 255 - network.mean[c]) / network.std[c] for p in row] for row in plane]
        for c, plane in enumerate(image.tolist())
    ]
    for _ in range(network.timesteps):
        outputs = [x0]
        for i, layer in enumerate(network.layers):
            x = np.array(outputs[layer.source + 1])
            out = scalar_layer(layer, x)
            if layer.residual is not None:
                out = out + np.array(outputs[layer.residual + 1])
            if layer.spikes:
                for position in np.ndindex(out.shape):
                    v_th = float(np.broadcast_to(layer.v_th, len(out))[position[0]])
                    v = network.tau * potentials.get((i, *position), 0.0) + out[position]
                    fires = v > v_th
                    kept = v - v_th if network.reset == "soft" else 0.0
                    potentials[i, *position] = kept if fires else v
                    out[position] = float(fires)
            outputs.append(out.tolist())
        logits.append(np.ravel(outputs[-1]).tolist())
    return logits


def scalar_layer(layer: FloatLayer, x: np.ndarray) -> np.ndarray:
    if layer.kind == "linear":
        assert layer.weight is not None and layer.bias is not None
        return (layer.weight @ x.ravel() + layer.bias).reshape(-1, 1, 1)
    k, s, p = layer.kernel, layer.stride, layer.padding
    x = np.pad(x, ((0, 0), (p, p), (p, p)))
    channels = len(x) if layer.weight is None else len(layer.weight)
    out = np.zeros((channels, (x.shape[1] - k) // s + 1, (x.shape[2] - k) // s + 1))
    for c, y, z in np.ndindex(out.shape):
        window = x[:, y * s : y * s + k, z * s : z * s + k]
        if layer.weight is None:
            out[c, y, z] = window[c].max() if layer.kind == "max_pool" else window[c].mean()
            continue
        out[c, y, z] = np.sum(window * layer.weight[c])
        if layer.bias is not None:
            out[c, y, z] += layer.bias[c]
        n = layer.batch_norm
        if n is not None:
            normal = (out[c, y, z] - n.mean[c]) / np.sqrt(n.variance[c] + n.eps)
            out[c, y, z] = n.gamma[c] * normal + n.beta[c]
    return out


@pytest.mark.parametrize("pool", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(("reset", "tau"), [("hard", 0.5), ("soft", 0.9), ("soft", 1.0)])
def test_matches_the_scalar_twin(
    pool: Literal["max_pool", "avg_pool"], reset: Literal["hard", "soft"], tau: float
) -> None:
    network = tiny_float_network(pool, reset, tau)
    images = np.random.default_rng(3).integers(0, 256, (3, 2, 4, 4)).astype(np.uint8)
    logits = run_float(network, images, batch=2)
    for image, found in zip(images, logits, strict=True):
        np.testing.assert_allclose(found, scalar_float(network, image), rtol=1e-4, atol=1e-4)
    assert len(np.unique(logits.round(3))) > 6


def test_event_frames_enter_one_after_the_other_without_normalisation() -> None:
    layer = FloatLayer("fc", "linear", -1, weight=np.eye(4, dtype=np.float32))
    network = FloatNetwork(
        "e", (1, 2, 2), 4, 3, (layer,), np.ones(1), np.ones(1), encoding="events"
    )
    frames = np.arange(24).reshape(2, 3, 1, 2, 2).astype(np.uint8)
    np.testing.assert_array_equal(run_float(network, frames), frames.reshape(2, 3, 4))


def test_a_pool_has_no_weights_to_fold() -> None:
    with pytest.raises(TypeError, match="has no weights"):
        FloatLayer("p", "max_pool", 0).folded()
