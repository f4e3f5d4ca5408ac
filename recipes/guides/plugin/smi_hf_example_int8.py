"""A back end: weights of Linear layers in int8, one scale per row, computed in floating point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel

from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.quantization import QuantizationConfig
from smi_hf.quantization.backends.base import register_backend

WEIGHTS_FILE = "rows8.safetensors"


@register_backend("rows8")
class Rows8:
    """Writes int8 weights and their scales beside the configuration."""

    extra = None
    widths = ((8, 32),)
    operators = ("Linear",)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("PyTorch", "transformers", ("int8",))

    def prepare(self, teacher: Teacher, work: Path) -> "FloatRows":
        teacher.model.model.save_pretrained(work / "float")
        modules = teacher.model.model.named_modules()
        return FloatRows(work / "float", {name: "Linear" for name, module in modules if isinstance(module, nn.Linear)})

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / WEIGHTS_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        model = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(folder))
        weights = load_file(folder / WEIGHTS_FILE)
        scales = {name: weights.pop(name) for name in list(weights) if name.endswith(".scale")}
        for name, scale_R1 in scales.items():
            weight = name.replace(".scale", ".weight")
            weights[weight] = weights[weight] * scale_R1
        model.load_state_dict(weights)
        return logits_of(model)


@dataclass(frozen=True)
class FloatRows:
    """The model in floating point, ready to be rounded any number of times; see `FloatModel`."""

    folder: Path
    layers: Mapping[str, str]

    def load(self) -> Answer:
        return logits_of(AutoModelForImageClassification.from_pretrained(self.folder))

    def quantize(
        self, calibration: KeptImages | None, settings: QuantizationConfig, layers: Sequence[str], folder: Path
    ) -> None:
        """Weights alone are rounded, so `calibration` is not looked at."""
        model = AutoModelForImageClassification.from_pretrained(self.folder)
        weights = model.state_dict()
        for name in layers:
            weight_RI = weights[f"{name}.weight"]
            scale_R1 = weight_RI.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
            weights[f"{name}.weight"] = (weight_RI / scale_R1).round().to(torch.int8)
            weights[f"{name}.scale"] = scale_R1
        model.config.save_pretrained(folder)
        save_file(weights, folder / WEIGHTS_FILE)


def logits_of(model: PreTrainedModel) -> Answer:
    """A model's forward pass, from float32 images to logits."""
    model.eval()

    @torch.no_grad()
    def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
        return model(pixel_values=torch.from_numpy(pixels_BCHW)).logits.numpy()

    return predict
