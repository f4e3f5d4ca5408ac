"""ExecuTorch, for phones and other devices: torchao's PT2E with the quantizer of XNNPACK, static int8, batches of one.

Linear layers are quantized: weights in 8 bits with a scale for each channel, and from minimum to maximum what a layer
reads and what it writes, as XNNPACK's kernels take and give 8 bits. All else is in float32.

Legend: `B` images, `C` channels, `H W` image pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from smi_hf.errors import RunError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.files import one_line
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
    module_of,
    quantized,
    whole_program,
)
from smi_hf.quantization.exports.quiet import quiet

MODEL_FILE = "model.pte"


@register_backend("executorch")
class ExecutorchBackend:
    """Writes what transformers 5's `ExportedModel` and ExecuTorch's runtimes read, for one image at a time."""

    extra = "executorch"
    widths = ((8, 8),)
    operators = (LINEAR,)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("ExecuTorch", "transformers", ("executorch", "xnnpack", "pt2e"))

    def prepare(self, teacher: Teacher, work: Path) -> "ExecutorchFloatModel":
        """Exports the teacher for one image of its grid's size.

        Raises:
            RunError: it cannot be exported.
        """
        return ExecutorchFloatModel(teacher, export_encoder(teacher), work / "float")

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The answer by ExecuTorch's runtime on the CPU, one image after the other."""
        from executorch.runtime import Runtime as Executorch

        _check_is_program(folder / MODEL_FILE)
        method = Executorch.get().load_program(folder / MODEL_FILE).load_method("forward")

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            # What it gives is overwritten by the next answer.
            answers = [method.execute([image])[0].clone() for image in torch.from_numpy(pixels_BCHW).split(1)]
            return torch.cat(answers).numpy()

        return predict


class ExecutorchFloatModel:
    """A teacher in float32, ready to be quantized; see `FloatModel`.

    Args:
        teacher: what was exported.
        encoder: all behind the embeddings, for any number of tokens.
        folder: for the whole; does not exist yet.
    """

    def __init__(self, teacher: Teacher, encoder: ExportedProgram, folder: Path) -> None:
        self.teacher = teacher
        self.encoder = encoder
        self.layers = linear_layers(encoder)
        self._folder = folder

    @cached_property
    def folder(self) -> Path:
        """The whole on disk, written when it is first asked for: ExecuTorch takes its time."""
        _save(self.teacher, self.encoder.module(), self._folder)
        return self._folder

    def load(self) -> Answer:
        return ExecutorchBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        assert calibration is not None, "back end 'executorch' has no dynamic quantization"
        encoder = quantized(self.encoder, calibration_inputs(calibration, self.teacher.model), _quantizer(layers))
        _save(self.teacher, encoder, folder)


def _check_is_program(path: Path) -> None:
    """ExecuTorch quotes the identifier of a file that is no program of its own, and dies if that is no text.

    Raises:
        ValueError: a file has another identifier.
    """
    with path.open("rb") as file:
        # A FlatBuffer: the offset of its root, then four characters, of which two are a version.
        if file.read(8)[4:6] != b"ET":
            raise ValueError(f"{path.name} is no program of ExecuTorch")


def _quantizer(layers: Sequence[str]) -> Any:
    """XNNPACK's quantizer for some Linear layers and nothing else, with ranges from minimum to maximum.

    Its own default looks for a narrower range in a histogram.
    """
    import_pt2e()
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

    usual = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
    activations = min_max(usual.input_activation)
    settings = replace(usual, input_activation=activations, output_activation=activations)
    # By operator, and not by names of modules: for each of these it would trace patterns of convolutions anew.
    quantizer = xnnpack.XNNPACKQuantizer().set_operator_type(torch.ops.aten.linear.default, settings)
    return quantizer.set_filter_function(lambda node: module_of(node) in layers)


def _save(teacher: Teacher, encoder: GraphModule, folder: Path) -> None:
    from transformers.exporters import ExportFormat

    program = whole_program(teacher, encoder, batch=None)
    exported = exported_model(teacher, _lowered(program), ExportFormat.EXECUTORCH, ("torch", "executorch"))
    exported.save_pretrained(folder)


def _lowered(program: ExportedProgram) -> Any:
    """A program for ExecuTorch's runtime, what XNNPACK can compute handed to it.

    Raises:
        RunError: ExecuTorch cannot take it.
    """
    import_pt2e()
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    try:
        with quiet("executorch", "torch"):
            return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    except Exception as error:  # of ExecuTorch or torch, of no common base
        raise RunError(f"ExecuTorch could not take the model: {type(error).__name__}: {one_line(error)}") from error
