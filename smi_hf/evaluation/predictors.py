"""A model under any runtime: pictures in, logits out. Each has the preprocessing that belongs to it.

Legend: `B` images, `C H W` image pixels, `L` labels, `D` size of an embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models import Classifier, EmbeddingHead, Teacher, VisionClassifier
from smi_hf.models.classification import answer_by_name, label_names_of
from smi_hf.models.preprocessing import preprocess

# From preprocessed images (B, C, H, W) to what a model gives, all float32: logits (B, L) of a classifier; of an image
# tower or a backbone what its embeddings are read off (`Reading`).
Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """A model that can be asked what it sees in images.

    Args:
        answer: its forward pass.
        image_processor: the model's own, which makes such images of pictures.
        label_names: the model's labels, by number.
        backend: what computes it, in a word.
        head: what makes logits of an image tower's or backbone's answer; None of a classifier.
    """

    answer: Answer
    image_processor: Any
    label_names: Sequence[str]
    backend: str = "pytorch"
    head: EmbeddingHead | None = None

    def __call__(self, pixels_BCHW: np.ndarray) -> np.ndarray:
        """Logits (B, L) of preprocessed images."""
        return self.see(pixels_BCHW)[0]

    def see(self, pixels_BCHW: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits (B, L) of preprocessed images, and embeddings (B, D); None of a classifier."""
        answer = self.answer(pixels_BCHW)
        if self.head is None:
            return answer, None
        embeddings_BD = self.head.reading(answer)
        return self.head.logits(embeddings_BD), embeddings_BD

    @property
    def has_labels(self) -> bool:
        """Whether its labels mean something to people."""
        return self.head is None or self.head.has_labels

    def preprocess(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Pictures as this model takes them, float32 (B, C, H, W)."""
        return preprocess(pictures, self.image_processor)


def pytorch_predictor(model: nn.Module, image_processor: Any) -> Predictor:
    """A classifier of transformers, or a `VisionClassifier`, shown whole images on the device that it is on.

    Args:
        model: left in evaluation mode.
        image_processor: the model's own.
    """
    model.eval()
    head = model.head if isinstance(model, VisionClassifier) else None
    if not isinstance(model, VisionClassifier):
        answer_by_name(model)

    def answer(pixels_BCHW: np.ndarray) -> np.ndarray:
        weight = next(model.parameters())
        pixels = torch.from_numpy(pixels_BCHW).to(weight.device, weight.dtype)
        try:
            with torch.no_grad():
                found = model(pixel_values=pixels).logits if head is None else model.dense_answer(pixels)
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(
                f"the model does not take what its image processor makes, images of {pixels.shape[-2]}x"
                f"{pixels.shape[-1]} px: {one_line(error)}; mend preprocessor_config.json"
            ) from error
        return found.float().cpu().numpy()

    names = model.label_names if isinstance(model, VisionClassifier) else label_names_of(model.config)
    return Predictor(answer, image_processor, names, head=head)


def predictor_of(model: Predictor | Teacher | Classifier) -> Predictor:
    """A model with its own preprocessing, ready to be asked."""
    return model if isinstance(model, Predictor) else pytorch_predictor(model.model, model.image_processor)
