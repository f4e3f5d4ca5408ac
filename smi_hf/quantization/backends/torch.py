"""PyTorch's own int8: torchao's PT2E with the quantizer of x86 Inductor, static, in a program of torch.export.

Linear layers are quantized, as by `quanto`: inputs from minimum to maximum in 8 bits, weights in 8 bits with a scale
for each channel. PyTorch's ordinary operators round, and compute in floating point. Kernels of int8 are made by
`torch.compile` with `torch._inductor.config.freezing`; without VNNI these add pairs of products in 16 bits, which
overflow unless activations have 7 bits: target "avx2".

Legend: `B` images, `C` channels, `H W` image pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.exports.halves import calibration_inputs
from smi_hf.quantization.exports.manifest import exported_model
from smi_hf.quantization.exports.pt2e import (
    LINEAR,
    export_encoder,
    import_pt2e,
    linear_layers,
    min_max,
    quantized,
    whole_program,
)
from smi_hf.quantization.exports.quiet import quiet

MODEL_FILE = "model.pt2"


@register_backend("torch")
class TorchBackend:
    """Writes what transformers 5's `ExportedModel` and `torch.export.load` read."""

    extra = "torch"
    widths = ((8, 8),)
    operators = (LINEAR,)
    targets = ("avx512_vnni", "avx2")
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("PyTorch", "transformers", ("torch.export", "torchao", "pt2e"))

    def prepare(self, teacher: Teacher, work: Path) -> "TorchFloatModel":
        """Exports the teacher, on the CPU, for images of its grid's size and batches of any.

        Raises:
            RunError: it cannot be exported.
        """
        encoder = export_encoder(teacher)
        folder = work / "float"
        _save(teacher, encoder.module(), folder)
        return TorchFloatModel(teacher, encoder, folder, linear_layers(encoder))

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The answer of the program by PyTorch's ordinary operators."""
        import_pt2e()
        # Of some files that are no archive, PyTorch dies instead of raising an error.
        with ZipFile(folder / MODEL_FILE):
            pass
        module = torch.export.load(folder / MODEL_FILE).module()

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return next(iter(module(pixel_values=torch.from_numpy(pixels_BCHW)).values())).numpy()

        return predict


@dataclass(frozen=True)
class TorchFloatModel:
    """A teacher in float32, ready to be quantized; see `FloatModel`.

    Args:
        teacher: what was exported.
        encoder: all behind the embeddings, for any number of tokens.
        folder: the whole on disk.
        layers: "Linear" by name of module, in the order of the forward pass.
    """

    teacher: Teacher
    encoder: ExportedProgram
    folder: Path
    layers: Mapping[str, str]

    def load(self) -> Answer:
        return TorchBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        assert calibration is not None, "back end 'torch' has no dynamic quantization"
        encoder = quantized(
            self.encoder, calibration_inputs(calibration, self.teacher.model), _quantizer(layers, settings.target)
        )
        _save(self.teacher, encoder, folder)


def _quantizer(layers: Sequence[str], target: str | None) -> Any:
    """The quantizer of x86 Inductor for some Linear layers and nothing else, with ranges from minimum to maximum.

    Its own default looks for a narrower range in a histogram.
    """
    x86 = import_pt2e("quantizer.x86_inductor_quantizer")
    usual = x86.get_default_x86_inductor_quantization_config(reduce_range=target == "avx2")
    settings = replace(usual, input_activation=min_max(usual.input_activation))
    quantizer = x86.X86InductorQuantizer()
    for name in layers:
        quantizer.set_module_name_qconfig(name, settings)
    return quantizer


def _save(teacher: Teacher, encoder: GraphModule, folder: Path) -> None:
    from transformers.exporters import ExportFormat

    program = whole_program(teacher, encoder, Dim("batch_size"))
    with quiet("torch"):
        exported_model(teacher, program, ExportFormat.DYNAMO, ("torch", "torchao")).save_pretrained(folder)
