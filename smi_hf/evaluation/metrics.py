"""Metrics as `evaluate` modules that need no Hub: top-k accuracy and agreement."""

from typing import Any

import datasets
import evaluate
import numpy as np

_CITATION = "smi_hf, https://github.com/smi-hf/smi_hf"


class TopKAccuracy(evaluate.Metric):
    """Share of images whose label is among a model's first k choices, for each k; in [0, 1].

    `compute(predictions=choices, references=labels, k=(1, 5))` with choices int (n, m >= max(k)), best first.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Top-k accuracy of ranked choices.",
            citation=_CITATION,
            inputs_description="predictions: ranked labels of each image, best first; references: its label.",
            features=datasets.Features(
                {"predictions": datasets.List(datasets.Value("int64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, k: tuple[int, ...] = (1, 5)) -> dict[str, float]:
        hits = np.asarray(predictions) == np.asarray(references)[:, None]
        return {f"top{rank}": float(hits[:, :rank].any(axis=1).mean()) for rank in k}


class Agreement(evaluate.Metric):
    """Share of images for which two models make the same first choice; in [0, 1]."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Agreement of two models' first choices.",
            citation=_CITATION,
            inputs_description="predictions, references: the label that each model chooses first.",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"agreement": float((np.asarray(predictions) == np.asarray(references)).mean())}
