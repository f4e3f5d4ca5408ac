"""What quantizing some layers costs: answers that differ from float32's, and what is gained, megabytes.

Legend: `n` images, `L` labels, `B` images in a batch, `C H W` image pixels.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smi_hf.evaluation.predictors import Predictor
from smi_hf.images.kept import KeptImages
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.quantization.quantizer import Quantizer

_WEIGHTS = (".onnx", ".onnx_data", ".data", ".safetensors", ".bin", ".xml", ".pt2", ".pte")


@dataclass(frozen=True)
class Cost:
    """What quantizing some layers, and nothing else, does to the answers.

    Args:
        name: a layer, an operator type, or a description.
        num_layers: how many layers were quantized.
        agreement: share of images with float32's first choice, in [0, 1].
        divergence: mean Kullback-Leibler divergence of the answer from float32's, in nats, >= 0; tells layers apart
            where the first choices all agree.
        size_mb: weights on disk, in 10^6 bytes; 0 where nobody measured it.
    """

    name: str
    num_layers: int
    agreement: float
    divergence: float
    size_mb: float = 0.0


class CostMeter:
    """Quantizes some layers after others, and compares the answers with those in floating point.

    Needs no labels, so any images do.

    Args:
        quantizer: entered.
        calibration: what activations are calibrated on.
        pixels: batches of preprocessed images to ask about, float32 (B, C, H, W).
    """

    def __init__(self, quantizer: Quantizer, calibration: KeptImages | None, pixels: Sequence[np.ndarray]) -> None:
        self._quantizer = quantizer
        self._calibration = calibration
        self._pixels = pixels
        self._reference_nL = _log_probabilities(quantizer.float_predictor(), pixels)
        self.num_images = len(self._reference_nL)
        self.float_size_mb = folder_size(quantizer.float_model.folder) / 1e6

    def cost(self, name: str, layers: Sequence[str], *, wide: Sequence[str] | None = None) -> Cost:
        """The cost of quantizing the layers of these names and no others.

        Args:
            name: what the result is called.
            wide: those whose activations get 16 bits; those of the quantizer's settings if None.
        """
        quantizer = self._quantizer
        with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
            folder = Path(work) / "model"
            quantizer.quantize(self._calibration, folder, layers=layers, wide=wide)
            seen_nL = _log_probabilities(quantizer.load(folder), self._pixels)
            size_mb = folder_size(folder) / 1e6
        reference_nL = self._reference_nL
        divergence_n = (np.exp(reference_nL) * (reference_nL - seen_nL)).sum(axis=1)
        agreement = float((reference_nL.argmax(axis=1) == seen_nL.argmax(axis=1)).mean())
        # Rounding can take a divergence of nearly nothing below zero.
        return Cost(name, len(layers), agreement, max(0.0, float(divergence_n.mean())), size_mb)


def worst_first(costs: Iterable[Cost]) -> list[Cost]:
    """By agreement, and where that is the same by divergence."""
    return sorted(costs, key=lambda cost: (cost.agreement, -cost.divergence))


def largest(costs: Sequence[Cost], share: float) -> list[Cost]:
    """The fewest, largest divergence first, that make up a share of the summed divergence; none if all are 0."""
    by_divergence = sorted(costs, key=lambda cost: -cost.divergence)
    reached = np.cumsum([cost.divergence for cost in by_divergence])
    if not reached.size or reached[-1] == 0:
        return []
    return by_divergence[: int(np.searchsorted(reached, share * reached[-1])) + 1]


def folder_size(folder: Path) -> int:
    """Bytes of the weights in a folder; an embedding head is none of the model's."""
    files = (path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.name != HEAD_FILE)
    return sum(path.stat().st_size for path in files)


def _log_probabilities(predictor: Predictor, pixels: Sequence[np.ndarray]) -> np.ndarray:
    logits_nL = torch.cat([torch.from_numpy(predictor(batch)) for batch in pixels])
    return logits_nL.double().log_softmax(dim=1).numpy()
