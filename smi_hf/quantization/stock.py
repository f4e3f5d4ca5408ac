"""Answers of quantized models that are stock models of transformers, whose layers compute in another way."""

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from smi_hf.evaluation.predictors import Answer
from smi_hf.models import EmbeddingHead
from smi_hf.models.embeddings import head_in
from smi_hf.models.lookup import find_family, why_dense


def stock_answer(model: PreTrainedModel, head: EmbeddingHead | Path | None) -> Answer:
    """What a model gives for whole images of any size that it takes: logits, or what embeddings are read off.

    Args:
        head: of an image tower or a backbone, or the folder that it lies in; None of a classifier.
    """
    if isinstance(head, Path):
        head = head_in(head)
    name = "logits" if head is None else head.reading.output
    family = find_family(model) if why_dense(model) is None else None

    def answer(pixels_BCHW: np.ndarray) -> np.ndarray:
        arguments = {} if family is None else family.embeddings_arguments(model, pixels_BCHW.shape[2:])
        with torch.no_grad():
            return getattr(model(pixel_values=torch.from_numpy(pixels_BCHW), **arguments), name).numpy()

    return answer
