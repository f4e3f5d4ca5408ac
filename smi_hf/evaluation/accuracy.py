"""How well models do on real images, several models in one pass.

Legend: `n` images, `L` labels, `B` images in a batch, `D` size of an embedding.
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
from smi_hf.models import Teacher

Key = TypeVar("Key")

_NUM_CHOICES = 5
# Of two images each is the other's nearest.
_FEWEST_NEIGHBORS = 3
# Rows of the table of cosines that are in memory at a time.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class RankedLabels:
    """What a model sees in a set of images.

    Args:
        ranked_nM: its first choices, best first, int (n, min(5, L)).
        labels_n: the right ones, int (n,); -1 where images have none.
        seconds: time spent in the model.
        embeddings_nD: of an image tower or backbone, float32; None of a classifier.
        has_labels: whether the model's labels mean something to people.
    """

    ranked_nM: np.ndarray
    labels_n: np.ndarray
    seconds: float
    embeddings_nD: np.ndarray | None = None
    has_labels: bool = True

    def accuracy(self) -> dict[str, float | None]:
        """`top1` and `top5`, in [0, 1]; None of images without labels, or labels without meaning."""
        if not self.has_labels or (self.labels_n < 0).any():
            return {"top1": None, "top5": None}
        from smi_hf.evaluation.metrics import TopKAccuracy

        # evaluate wants lists; a batch at a time would only add to its bookkeeping.
        return TopKAccuracy().compute(predictions=self.ranked_nM.tolist(), references=self.labels_n.tolist())

    def agreement(self, other: "RankedLabels") -> float:
        """Share of images for which the other model's first choice is the same, in [0, 1]."""
        from smi_hf.evaluation.metrics import Agreement

        metric = Agreement()
        return metric.compute(predictions=self.ranked_nM[:, 0], references=other.ranked_nM[:, 0])["agreement"]

    def cosine(self, other: "RankedLabels") -> float | None:
        """Mean cosine of embeddings with those of another model, in [-1, 1]; None where they cannot be compared."""
        if not self._is_comparable(other):
            return None
        return float((_unit(self.embeddings_nD) * _unit(other.embeddings_nD)).sum(axis=1).mean())

    def same_neighbors(self, other: "RankedLabels") -> float | None:
        """Share of images whose nearest other image is the same one by another model's embeddings, in [0, 1].

        None where there are no embeddings, or fewer than three images.
        """
        if self.embeddings_nD is None or other.embeddings_nD is None or len(self.labels_n) < _FEWEST_NEIGHBORS:
            return None
        return float((_nearest(self.embeddings_nD) == _nearest(other.embeddings_nD)).mean())

    def _is_comparable(self, other: "RankedLabels") -> bool:
        mine, others = self.embeddings_nD, other.embeddings_nD
        return mine is not None and others is not None and mine.shape == others.shape


def check_judges(images: ImageSet | None, teacher: Teacher) -> None:
    """Checks that there are enough images to judge a model on; none at all are for no table.

    Raises:
        UsageError: too few.
    """
    if images is not None and teacher.judged_labels is None and len(images) < _FEWEST_NEIGHBORS:
        raise UsageError(
            f"a model without labels is judged by nearest neighbors, which takes at least {_FEWEST_NEIGHBORS} images, "
            f"and there are {len(images)}; give more"
        )


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
    embedded: dict[Key, list[np.ndarray]] = {key: [] for key in predictors}
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
                logits_BL, embeddings_BD = predictor.see(pixels[preprocessing[key]])
                seconds[key] += time.perf_counter() - started
                if embeddings_BD is not None:
                    embedded[key].append(embeddings_BD)
                ranked[key].append(np.argsort(-logits_BL, axis=1, kind="stable")[:, :_NUM_CHOICES])
            bar.update(len(labels_B))
    labels_n = np.concatenate(labels)
    return {
        key: RankedLabels(
            np.concatenate(ranked[key]),
            labels_n,
            seconds[key],
            np.concatenate(embedded[key]) if embedded[key] else None,
            predictor.has_labels,
        )
        for key, predictor in predictors.items()
    }


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


def _unit(embeddings_nD: np.ndarray) -> np.ndarray:
    lengths_n1 = np.linalg.norm(embeddings_nD, axis=1, keepdims=True)
    return embeddings_nD / np.maximum(lengths_n1, np.finfo(np.float32).tiny)


def _nearest(embeddings_nD: np.ndarray) -> np.ndarray:
    """For each image the number of the other image of largest cosine, int (n,)."""
    unit_nD = _unit(embeddings_nD)
    found = []
    for first in range(0, len(unit_nD), _ROWS_AT_ONCE):
        cosines = unit_nD[first : first + _ROWS_AT_ONCE] @ unit_nD.T
        rows = np.arange(len(cosines))
        cosines[rows, first + rows] = -np.inf
        found.append(cosines.argmax(axis=1))
    return np.concatenate(found)


def _description(image_processor: Any) -> str:
    """What is the same for image processors that do the same."""
    if hasattr(image_processor, "to_dict"):
        return json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    return str(id(image_processor))
