"""A teacher as ONNX by Optimum's exporter, and quantized by Optimum's quantizer, in the *full* lane."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from smi_hf.errors import RunError
from smi_hf.models import Teacher, VisionClassifier
from smi_hf.quantization.exports.halves import examples, ready_to_trace
from smi_hf.quantization.qdq import WIDE_TYPE, QdqRequest

MODEL_FILE = "model.onnx"


def export(teacher: Teacher, folder: Path) -> Path:
    """The teacher as float32 ONNX in a new folder, with its configuration; returns the path of the graph.

    For batches of any size and images of the size of the teacher's grid.

    Raises:
        RunError: the exporter cannot.
    """
    from optimum.exporters.onnx import export as export_graph

    model = teacher.model
    folder.mkdir(parents=True)
    try:
        # The tracer's remarks on transformers' code, and deprecations that are optimum's to mend.
        with warnings.catch_warnings(), ready_to_trace(model):
            warnings.simplefilter("ignore")
            model.dense_answer(examples(model)[0])
            export_graph(model.model, _description(model), folder / MODEL_FILE)
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise RunError(
            f"{teacher.model.config.model_type!r} could not be exported to ONNX: {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    model.config.save_pretrained(folder)
    teacher.image_processor.save_pretrained(folder)
    return folder / MODEL_FILE


def _description(model: VisionClassifier) -> Any:
    """What the exporter must know: images of the grid's size go in, the answer comes out; as of ViT in any family."""
    from optimum.exporters.onnx.model_configs import ViTOnnxConfig

    class Description(ViTOnnxConfig):
        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {"pixel_values": {0: "batch_size"}}

        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            return {model.answer_name: {0: "batch_size"}}

        def generate_dummy_inputs(self, framework: str = "pt", **kwargs: Any) -> dict[str, Any]:
            images = examples(model)[0]
            return {"pixel_values": images.numpy() if framework == "np" else images}

    return Description(model.config, task="image-classification")


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
