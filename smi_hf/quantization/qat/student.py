"""Quantization-aware training as `smi_hf.distill` takes it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings, choose_layers
from smi_hf.quantization.config import QuantizationConfig


@dataclass(frozen=True)
class QuantizationAwareTraining:
    """Rounds a student by quanto while it learns: `distill(..., quantization=QuantizationAwareTraining(2))`.

    Args:
        weights: bits of its weights: 8, 4 or 2.
        activations: bits of what enters its layers: 8, or 32 for floating point.
        exclude: names of layers that stay in floating point; `*` and `?` are wildcards.
    """

    weights: int = 8
    activations: int = 8
    exclude: tuple[str, ...] = ()
    name: str = field(default="quanto", init=False)
    extra: str | None = field(default="quanto", init=False)

    @property
    def config(self) -> QuantizationConfig:
        return QuantizationConfig(
            backend=self.name, weights=self.weights, activations=self.activations, exclude=list(self.exclude)
        )

    @property
    def runtime(self) -> Runtime:
        return BACKENDS.get(self.name).runtime

    @property
    def settings(self) -> dict[str, Any]:
        """As in the record of any quantized model."""
        return self.config.model_settings()

    def check(self) -> None:
        """Checks what can be checked before a model is loaded.

        Raises:
            UsageError: quanto is not installed, or has no such widths.
        """
        check_settings(self.name, self.config)

    def prepare(self, model: SparseClassifier, images: KeptImages, *, disable_tqdm: bool = False) -> PreTrainedModel:
        """As `quantize_for_training`."""
        from smi_hf.quantization.qat.training import quantize_for_training

        return quantize_for_training(model, images, self.config, disable_tqdm=disable_tqdm)

    def plain(self, model: SparseClassifier, images: KeptImages) -> PreTrainedModel:
        """What quanto makes of the model by itself: its own ranges of weights, and no training."""
        from smi_hf.quantization.backends.quanto import linear_layers, unfrozen_copy

        layers = choose_layers(linear_layers(model), BACKENDS.get(self.name), self.config)
        return unfrozen_copy(model, images, self.config, layers).model

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """As `freeze_and_save`."""
        from smi_hf.quantization.qat.training import freeze_and_save

        freeze_and_save(model, folder)
