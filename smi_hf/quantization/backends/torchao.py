"""torchao: integer weights of Linear layers in PyTorch, as transformers itself saves and loads them.

Weights alone, so no image is looked at: 8 bits with a scale for each output, or 4 bits in groups of inputs. torchao
packs 4 bits for GPUs and ARM only; on other CPUs each takes a byte, so such a model is no smaller than one of 8 bits.

Legend: `B` images, `C H W` image pixels.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageClassification, PreTrainedModel

from smi_hf.evaluation.predictors import Logits
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier, Teacher
from smi_hf.models.families.base import find_family
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.backends.quanto import linear_layers
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig
from smi_hf.quantization.exports.quiet import quiet

# Inputs that share a scale of 4-bit weights: the first that divides a layer's, or else all of them.
GROUP_SIZES = (128, 96, 64, 32)


@register_backend("torchao")
class TorchaoBackend:
    """Writes what stock `AutoModelForImageClassification.from_pretrained` reads, with torchao installed."""

    extra = "torch"
    widths = ((8, FLOAT_BITS), (4, FLOAT_BITS))
    operators = ("Linear",)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("PyTorch with torchao", "transformers", ("torchao",))

    def prepare(self, teacher: Teacher, work: Path) -> "TorchaoFloatModel":
        """A float32 copy of the teacher on disk; the teacher itself is left as it is."""
        model = copy.deepcopy(teacher.model.model).to("cpu", torch.float32).eval()
        with _hushed():
            model.save_pretrained(work / "float")
        layers = linear_layers(SparseClassifier(model, teacher.model.grid.image_size))
        return TorchaoFloatModel(work / "float", layers)

    def is_saved_in(self, folder: Path) -> bool:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        settings = config.get("quantization_config") if isinstance(config, dict) else None
        return isinstance(settings, dict) and settings.get("quant_method") == "torchao"

    def load(self, folder: Path) -> Logits:
        """Logits of images of any size that the model takes."""
        return _logits(_loaded(folder))


@dataclass(frozen=True)
class TorchaoFloatModel:
    """A teacher in float32, ready to be quantized; see `FloatModel`.

    Args:
        folder: float checkpoint.
        layers: "Linear" by name of module, in the order of the forward pass.
    """

    folder: Path
    layers: Mapping[str, str]

    def load(self) -> Logits:
        return _logits(_loaded(self.folder))

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a model with integer weights; `calibration` is not looked at."""
        from transformers import TorchAoConfig

        modules = dict(_loaded(self.folder).named_modules())
        widths = {name: modules[name].in_features for name in layers}
        with _hushed():
            from torchao.quantization import FqnToConfig

            # By parameters: by modules, transformers would quantize a layer again when it comes to its bias.
            configs = {f"{name}.weight": _weights(settings.weights, width) for name, width in widths.items()}
            _loaded(self.folder, quantization_config=TorchAoConfig(FqnToConfig(configs))).save_pretrained(folder)


def _weights(bits: int, num_inputs: int) -> Any:
    """torchao's settings for the weights of one layer."""
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerAxis, PerGroup

    if bits == 8:
        return Int8WeightOnlyConfig()
    size = next((size for size in GROUP_SIZES if num_inputs % size == 0), None)
    return IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerAxis(0) if size is None else PerGroup(size))


def _loaded(folder: Path, **options: Any) -> PreTrainedModel:
    with _hushed():
        return AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, **options).eval()


@contextmanager
def _hushed() -> Iterator[None]:
    """While it lasts, neither transformers nor torchao remarks on anything, and no bar is drawn for a small model."""
    from transformers.utils import logging

    is_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with quiet("torchao", "torch", "transformers"):
            yield
    finally:
        if is_shown:
            logging.enable_progress_bar()


def _logits(model: PreTrainedModel) -> Logits:
    family = find_family(model.config)

    def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
        arguments = family.embeddings_arguments(model.config, pixels_BCHW.shape[2:])
        with torch.no_grad():
            return model(pixel_values=torch.from_numpy(pixels_BCHW), **arguments).logits.numpy()

    return predict
