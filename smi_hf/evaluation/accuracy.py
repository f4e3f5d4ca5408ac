"""How well models do on real images, several models in one pass.

Legend: `n` images, `L` labels, `B` images in a batch.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from smi_hf.data.image_sets import ImageSet

# Logits (B, L) of preprocessed images, both float32.
Predictor = Callable[[np.ndarray], np.ndarray]
_NUM_CHOICES = 5
_BATCHES_A_TURN = 5


@dataclass(frozen=True)
class Choices:
    """What a model sees in a set of images.

    Args:
        ranked_nM: its first choices, best first, int (n, min(5, L)).
        labels_n: the right ones, int (n,).
        seconds: time spent in the model.
    """

    ranked_nM: np.ndarray
    labels_n: np.ndarray
    seconds: float

    def accuracy(self) -> dict[str, float]:
        """`top1` and `top5`, in [0, 1]."""
        from smi_hf.evaluation.metrics import TopKAccuracy

        # evaluate wants lists; a batch at a time would only add to its bookkeeping.
        return TopKAccuracy().compute(predictions=self.ranked_nM.tolist(), references=self.labels_n.tolist())

    def agreement(self, other: "Choices") -> float:
        """Share of images for which the other model's first choice is the same, in [0, 1]."""
        from smi_hf.evaluation.metrics import Agreement

        metric = Agreement()
        return metric.compute(predictions=self.ranked_nM[:, 0], references=other.ranked_nM[:, 0])["agreement"]


def pytorch_predictor(model: nn.Module) -> Predictor:
    """An image classifier, shown whole images on the device that it is on; left in evaluation mode."""
    model.eval()

    def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
        weight = next(model.parameters())
        with torch.no_grad():
            logits_BL = model(pixel_values=torch.from_numpy(pixels_BCHW).to(weight.device, weight.dtype)).logits
        return logits_BL.float().cpu().numpy()

    return predict


def look_at(
    images: ImageSet,
    models: Mapping[str, Predictor],
    image_processor: Any,
    *,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> dict[str, Choices]:
    """Shows every model every image, decoding each once."""
    ranked: dict[str, list[np.ndarray]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    labels = []
    with tqdm(total=len(images), desc="Evaluating", unit="image", disable=disable_tqdm) as bar:
        for pixels_BCHW, labels_B in images.batches(image_processor, batch_size):
            labels.append(labels_B)
            for name, predict in models.items():
                started = time.perf_counter()
                logits_BL = predict(pixels_BCHW)
                seconds[name] += time.perf_counter() - started
                ranked[name].append(np.argsort(-logits_BL, axis=1, kind="stable")[:, :_NUM_CHOICES])
            bar.update(len(labels_B))
    labels_n = np.concatenate(labels)
    return {name: Choices(np.concatenate(ranked[name]), labels_n, seconds[name]) for name in models}


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
