"""A classifier under any runtime: pictures in, logits out. Each has the preprocessing that belongs to it.

Legend: `B` images, `C H W` image pixels, `L` labels.
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
from smi_hf.models import Classifier, Teacher
from smi_hf.models.loading import answer_by_name, label_names_of
from smi_hf.models.preprocessing import preprocess

# From preprocessed images (B, C, H, W) to logits (B, L), both float32.
Logits = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """A model that can be asked what it sees in images.

    Args:
        logits: its forward pass.
        image_processor: the model's own, which makes such images of pictures.
        label_names: the model's labels, by number.
        backend: what computes it, in a word.
    """

    logits: Logits
    image_processor: Any
    label_names: Sequence[str]
    backend: str = "pytorch"

    def __call__(self, pixels_BCHW: np.ndarray) -> np.ndarray:
        """Logits of preprocessed images."""
        return self.logits(pixels_BCHW)

    def preprocess(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Pictures as this model takes them, float32 (B, C, H, W)."""
        return preprocess(pictures, self.image_processor)


def pytorch_predictor(model: nn.Module, image_processor: Any) -> Predictor:
    """An image classifier of transformers, or a `SparseClassifier`, shown whole images on the device that it is on.

    Args:
        model: left in evaluation mode.
        image_processor: the model's own.
    """
    model.eval()
    answer_by_name(model)

    def logits(pixels_BCHW: np.ndarray) -> np.ndarray:
        weight = next(model.parameters())
        pixels = torch.from_numpy(pixels_BCHW).to(weight.device, weight.dtype)
        try:
            with torch.no_grad():
                logits_BL = model(pixel_values=pixels).logits
        except ValueError as error:
            raise UsageError(
                f"the model does not take what its image processor makes, images of {pixels.shape[-2]}x"
                f"{pixels.shape[-1]} px: {one_line(error)}; mend preprocessor_config.json"
            ) from error
        return logits_BL.float().cpu().numpy()

    return Predictor(logits, image_processor, label_names_of(model.config))


def predictor_of(model: Predictor | Teacher | Classifier) -> Predictor:
    """A model with its own preprocessing, ready to be asked."""
    return model if isinstance(model, Predictor) else pytorch_predictor(model.model, model.image_processor)
