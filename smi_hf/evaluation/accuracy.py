"""How well models do on real images, several models in one pass.

Legend: `n` images, `L` labels, `B` images in a batch.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from smi_hf import progress
from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Predictor
from smi_hf.images.labels import same_names
from smi_hf.images.real import ImageSet

Key = TypeVar("Key")

_NUM_CHOICES = 5


@dataclass(frozen=True)
class RankedLabels:
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

    def agreement(self, other: "RankedLabels") -> float:
        """Share of images for which the other model's first choice is the same, in [0, 1]."""
        from smi_hf.evaluation.metrics import Agreement

        metric = Agreement()
        return metric.compute(predictions=self.ranked_nM[:, 0], references=other.ranked_nM[:, 0])["agreement"]


def rank_labels(
    images: ImageSet,
    predictors: Mapping[Key, Predictor],
    *,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> dict[Key, RankedLabels]:
    """Shows every model every image, decoding each once, and preprocessing it once for models that do so alike.

    Args:
        images: loaded with the labels that the models have.
        batch_size: images at a time.

    Raises:
        UsageError: `batch_size` is less than 1, there are no images, their labels are not those of a model, one cannot
            be decoded, or an image processor makes what its model does not take.
    """
    _check_labels(images, predictors)
    ranked: dict[Key, list[np.ndarray]] = {key: [] for key in predictors}
    seconds = dict.fromkeys(predictors, 0.0)
    preprocessing = {key: _description(predictor.image_processor) for key, predictor in predictors.items()}
    labels = []
    with progress.bar("Evaluating", total=len(images), unit="image", disable=disable_tqdm) as bar:
        for pictures, labels_B in images.batches(batch_size):
            labels.append(labels_B)
            pixels: dict[str, np.ndarray] = {}
            for key, predictor in predictors.items():
                if preprocessing[key] not in pixels:
                    pixels[preprocessing[key]] = predictor.preprocess(pictures)
                started = time.perf_counter()
                logits_BL = predictor(pixels[preprocessing[key]])
                seconds[key] += time.perf_counter() - started
                ranked[key].append(np.argsort(-logits_BL, axis=1, kind="stable")[:, :_NUM_CHOICES])
            bar.update(len(labels_B))
    labels_n = np.concatenate(labels)
    return {key: RankedLabels(np.concatenate(ranked[key]), labels_n, seconds[key]) for key in predictors}


def _check_labels(images: ImageSet, predictors: Mapping[Key, Predictor]) -> None:
    """Refuses models of other labels than those that the images' labels were matched with."""
    if not len(images):
        raise UsageError(f"the set of images {images.name!r} is empty")
    if images.label_names is None:
        return
    for predictor in predictors.values():
        if not same_names(predictor.label_names, images.label_names):
            raise UsageError(
                f"the images of {images.name!r} were matched with {len(images.label_names)} labels "
                f"({images.label_names[0]!r}, ...) that are not the {len(predictor.label_names)} of the model "
                f"({predictor.label_names[0]!r}, ...); load them with the label_names of this model"
            )


def _description(image_processor: Any) -> str:
    """What is the same for image processors that do the same."""
    if hasattr(image_processor, "to_dict"):
        return json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    return str(id(image_processor))
