"""Models of any back end, as functions from images to logits: one loader for the evaluator."""

from pathlib import Path

import numpy as np
import torch

from smi_hf.errors import UsageError
from smi_hf.evaluation.accuracy import Predictor
from smi_hf.models.sparse import SparseClassifier
from smi_hf.quantization.backends.base import BACKENDS


def saved_backend(folder: Path) -> str | None:
    """Name of the back end whose model a folder holds, None for a PyTorch checkpoint."""
    return next((name for name in BACKENDS.names() if BACKENDS.get(name).is_saved_in(folder)), None)


def check_not_quantized(model_name_or_path: str) -> None:
    """Checks that a folder holds no quantized model, whose weights are rounded already.

    Raises:
        UsageError: it does.
    """
    folder = Path(model_name_or_path)
    if folder.is_dir() and (backend := saved_backend(folder)):
        raise UsageError(
            f"model {model_name_or_path!r} is quantized already (back end {backend}); give the checkpoint in floating "
            f"point that it was made from"
        )


def dense_predictor(model: SparseClassifier) -> Predictor:
    """A PyTorch classifier, shown every patch, in the precision that it has."""

    def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
        weight = next(model.parameters())
        with torch.no_grad():
            return model(torch.from_numpy(pixels_BCHW).to(weight.device, weight.dtype)).logits.float().cpu().numpy()

    return predict
