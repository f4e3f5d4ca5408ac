"""How long models take, one beside the other."""

import time
from collections.abc import Mapping
from statistics import median

import numpy as np

from smi_hf.evaluation.predictors import Predictor

_BATCHES_A_TURN = 5


def latencies_ms(
    models: Mapping[str, Predictor], image_shape: tuple[int, int, int], *, batch_size: int, repeats: int = 20
) -> dict[str, float]:
    """Median milliseconds of a batch by model; models take turns, so a machine that drifts slows all alike.

    A turn is several batches, the first of which is not timed: threads of the model before may still be waiting for
    work, busily, on the same cores.
    """
    generator = np.random.default_rng(0)
    pixels = generator.standard_normal((batch_size, *image_shape), dtype=np.float32)
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(-(-repeats // _BATCHES_A_TURN)):
        for name, predict in models.items():
            predict(pixels)
            for _ in range(_BATCHES_A_TURN):
                started = time.perf_counter()
                predict(pixels)
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: median(values) for name, values in times.items()}


def speed_figures(models: Mapping[str, Predictor], image_shape: tuple[int, int, int]) -> dict[str, dict[str, float]]:
    """The speed of each model, by the keys of a result table's columns: one image, and batches of 32."""
    single, batch = (
        latencies_ms(models, image_shape, batch_size=size, repeats=repeats) for size, repeats in ((1, 30), (32, 5))
    )
    return {
        name: {
            "latency_ms_1": single[name],
            "latency_ms_32": batch[name],
            "images_per_second": 32_000 / batch[name],
        }
        for name in models
    }
