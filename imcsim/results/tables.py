"""A run's tables: one row per image, one per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imcsim.energy import COMPONENTS
from imcsim.functional.adc import ONE_LEVEL
from imcsim.simulator import RunResult

if TYPE_CHECKING:
    import pandas as pd


def images_table(result: RunResult) -> pd.DataFrame:
    """One row per image: what was predicted when, and what it cost."""
    import pandas as pd

    steps, scores, rows = result.dynamic.steps, result.scores, np.arange(result.images)
    last = steps - 1
    table = pd.DataFrame(
        {
            "image": rows,
            "label": result.labels,
            "prediction": result.dynamic.predictions,
            "timesteps": steps,
            "entropy": scores.entropy[rows, last],
            "confidence": scores.confidence[rows, last],
            "margin": scores.margin[rows, last],
            "energy_j": result.dynamic.energy_j,
            "latency_s": result.dynamic.latency_s(result.clock_hz),
            "edp_js": result.dynamic.edp_js(result.clock_hz),
        }
    )
    if result.static is not None:
        table["static_prediction"] = result.static.predictions
        table["static_energy_j"] = result.static.energy_j
        table["static_latency_s"] = result.static.latency_s(result.clock_hz)
        table["static_edp_js"] = result.static.edp_js(result.clock_hz)
    return table


def layers_table(result: RunResult) -> pd.DataFrame:
    """One row per layer: where it lies, what it does in a timestep, what it costs per image.

    Everything is of the dynamic run: timesteps after an image's exit do not count, simulated or
    not.
    """
    import pandas as pd

    rows = []
    used = np.arange(result.timesteps) < result.dynamic.steps[:, None]
    timesteps = int(result.dynamic.steps.sum())
    spikes = result.spikes[used].sum(axis=0)
    saturations = result.saturations[used].sum(axis=0)
    for index, layer in enumerate(result.mapping.network.layers):
        timing = result.timing.layers[index]
        placed = None if layer.is_pool else result.mapping.of(index)
        values = int(np.prod(layer.output_shape))
        rows.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "crossbars": placed.crossbars if placed else 0,
                "tiles": placed.tiles if placed else 0,
                "home_tile": result.mapping.home(index),
                "input_bits": layer.input_bits,
                "reads_per_timestep": placed.reads if placed else 0,
                "utilisation": placed.utilisation if placed else 0.0,
                "neurons": layer.neurons,
                "firing_rate": int(spikes[index]) / (timesteps * values) if layer.spikes else 0.0,
                "saturations": int(saturations[index]),
                "adc_step_levels": _levels(result.adc_steps[index]) if placed else "",
                "first_cycle": timing.first_cycle,
                "last_cycle": timing.last_cycle,
                "bound_by": timing.bound_by,
                "occupancy": timing.occupancy,
                "energy_j": float(result.dynamic.energy_by_layer_j[index].sum()),
                **dict(zip(
                    (f"{name}_j" for name in COMPONENTS[:-2]),
                    result.dynamic.energy_by_layer_j[index].tolist(), strict=False,
                )),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _levels(steps: npt.NDArray[np.int64]) -> str:
    """ADC steps in cell levels, one per plane."""
    return " ".join(f"{step / ONE_LEVEL:g}" for step in steps)
