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

import torch
from transformers import AutoConfig, PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import EmbeddingHead, Teacher
from smi_hf.models.bare import loading_class
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.backends.quanto import linear_layers
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig
from smi_hf.quantization.exports.quiet import quiet
from smi_hf.quantization.stock import stock_answer

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
        layers = linear_layers(teacher.model.around(model))
        return TorchaoFloatModel(work / "float", layers, teacher.head)

    def is_saved_in(self, folder: Path) -> bool:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        settings = config.get("quantization_config") if isinstance(config, dict) else None
        return isinstance(settings, dict) and settings.get("quant_method") == "torchao"

    def load(self, folder: Path) -> Answer:
        """The answer to images of any size that the model takes."""
        return stock_answer(_loaded(folder), folder)


@dataclass(frozen=True)
class TorchaoFloatModel:
    """A teacher in float32, ready to be quantized; see `FloatModel`.

    Args:
        folder: float checkpoint.
        layers: "Linear" by name of module, in the order of the forward pass.
        head: of an image tower or a backbone, None of a classifier.
    """

    folder: Path
    layers: Mapping[str, str]
    head: EmbeddingHead | None = None

    def load(self) -> Answer:
        return stock_answer(_loaded(self.folder), self.head)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a model with integer weights; `calibration` is not looked at.

        Raises:
            UsageError: transformers cannot apply torchao to it.
        """
        from transformers import TorchAoConfig

        model = _loaded(self.folder)
        try:
            model.get_input_embeddings()
        except NotImplementedError as error:
            raise UsageError(
                f"transformers applies torchao to models whose input embeddings it knows, and those of a "
                f"{model.config.model_type!r} model it does not; use another back end"
            ) from error
        modules = dict(model.named_modules())
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
    model_class, how = loading_class(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    with _hushed():
        return model_class.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, **how, **options
        ).eval()


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
