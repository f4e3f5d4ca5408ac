"""A teacher as ONNX by Optimum's exporter, and quantized by Optimum's quantizer, in the *full* lane."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from smi_hf.errors import RunError
from smi_hf.models import Teacher
from smi_hf.quantization.qdq import WIDE_TYPE, QdqRequest

MODEL_FILE = "model.onnx"


def export(teacher: Teacher, folder: Path) -> Path:
    """The teacher as float32 ONNX in a new folder, with its configuration; returns the path of the graph.

    Raises:
        RunError: the exporter cannot (DINOv2 with registers interpolates its positions by an operator without ONNX
            equivalent).
    """
    from optimum.exporters.onnx import main_export
    from optimum.exporters.onnx.model_configs import ViTOnnxConfig

    # The exporter reads checkpoints, not models in memory.
    checkpoint = folder.with_name(folder.name + "-checkpoint")
    teacher.model.model.save_pretrained(checkpoint)
    teacher.image_processor.save_pretrained(checkpoint)
    # Every family here takes images and gives logits, as ViT does; the exporter knows some of them alone.
    description = ViTOnnxConfig(teacher.model.config, task="image-classification")
    try:
        with warnings.catch_warnings():
            # The tracer's remarks on transformers' code, and deprecations that are optimum's to mend.
            warnings.simplefilter("ignore")
            main_export(
                str(checkpoint),
                output=folder,
                task="image-classification",
                custom_onnx_configs={"model": description},
                do_validation=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise RunError(
            f"{teacher.model.config.model_type!r} could not be exported to ONNX: {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    return folder / MODEL_FILE


def save_quantized(exported: Path, request: QdqRequest, config: Any, folder: Path) -> None:
    """Writes a quantized graph into a new folder, as `ORTModelForImageClassification.from_pretrained` reads it.

    Args:
        exported: path of what `export` wrote.
        config: of the model.
    """
    from onnxruntime.quantization import QuantType
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    options: dict[str, Any] = {
        "nodes_to_quantize": list(request.layers),
        "operators_to_quantize": list(request.types),
    }
    if request.target != "tensorrt":
        options |= {"is_static": request.ranges is not None, "per_channel": True}
    asked = getattr(AutoQuantizationConfig, request.target)(**options)
    if request.is_wide:
        asked.activations_dtype = QuantType[WIDE_TYPE]
    with quantizer_told(request.options):
        ORTQuantizer(request.graph, config=config).quantize(
            asked, save_dir=folder, file_suffix=None, calibration_tensors_range=request.ranges
        )


@contextmanager
def quantizer_told(options: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, optimum's QDQ quantizer has further options, which optimum does not pass on."""
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from optimum.onnxruntime import quantization

    class Told(QDQQuantizer):
        def __init__(self, *args: Any, extra_options: dict[str, Any], **kwargs: Any) -> None:
            super().__init__(*args, extra_options=extra_options | dict(options), **kwargs)

    before = quantization.QDQQuantizer
    quantization.QDQQuantizer = Told
    try:
        yield
    finally:
        quantization.QDQQuantizer = before
