"""ONNX Runtime through optimum-onnx: static int8 as QDQ, per-channel symmetric weights, min-max activations.

Legend: `B` images, `C` channels, `H W` image pixels.
"""

import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.errors import RunError, UsageError
from smi_hf.evaluation.predictors import Logits
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import WIDE_BITS, QuantizationConfig
from smi_hf.quantization.qdq import FLOAT_OUTPUTS, quantizer_told, wide, wide_tensors, with_standard_16_bits

logger = logging.getLogger(__name__)

# Set before anything loads ONNX Runtime. From version 1.29 on, its Linux wheels send usage events to their maker, and
# the function that turns this off runs too late for the first ones. Users of private models do not want such reports.
# Set the variable to 0 to send them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MODEL_FILE = "model.onnx"


@register_backend("onnx")
class OnnxBackend:
    """Writes what `ORTModelForImageClassification.from_pretrained` reads."""

    extra = "onnx"
    widths = ((8, 8), (8, WIDE_BITS))
    operators = ("MatMul", "Gemm")
    targets = ("avx512_vnni", "avx2", "arm64", "tensorrt")
    has_quantized_outputs = True
    has_wide_layers = True
    is_dynamic_possible = True
    is_simulation = False
    runtime = Runtime("ONNX Runtime", "optimum", ("onnx", "onnxruntime"))

    def prepare(self, teacher: Teacher, work: Path) -> "OnnxFloatModel":
        return OnnxFloatModel(teacher, export(teacher, work / "float"))

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Logits:
        """Logits of the stock ONNX Runtime model."""
        from optimum.onnxruntime import ORTModelForImageClassification

        model = ORTModelForImageClassification.from_pretrained(folder, trust_remote_code=False)

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return np.asarray(model(pixel_values=pixels_BCHW).logits)

        return predict


class OnnxFloatModel:
    """The exported graph; ranges of the last calibration set are kept, as one set serves many models.

    Args:
        teacher: what was exported.
        exported: path of its float32 graph.
    """

    def __init__(self, teacher: Teacher, exported: Path) -> None:
        import onnx
        from onnxruntime.quantization.registry import QDQRegistry

        self.teacher = teacher
        self.exported = exported
        self.folder = exported.parent
        nodes = onnx.load(str(exported), load_external_data=False).graph.node
        self.layers = {node.name: node.op_type for node in nodes if node.op_type in QDQRegistry}
        self._calibrated: tuple[KeptImages, Any] | None = None
        self._converted: Path | None = None

    def load(self) -> Logits:
        return OnnxBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

        target = settings.target or OnnxBackend.targets[0]
        if target == "tensorrt" and (settings.activations == WIDE_BITS or settings.wide_layers):
            raise UsageError("target 'tensorrt' has no activations of 16 bits; choose another target, or 8 bits")
        if lack := _lacks_for_target(target):
            logger.warning(
                "target %s: this machine lacks %s; accuracy and speed measured here are not those of the target",
                target,
                lack,
            )
        types = sorted({self.layers[name] for name in layers})
        options: dict[str, Any] = {"nodes_to_quantize": list(layers), "operators_to_quantize": types}
        if target != "tensorrt":
            options |= {"is_static": calibration is not None, "per_channel": True}
        asked = getattr(AutoQuantizationConfig, target)(**options)
        exported, told = self.exported, {} if settings.quantize_outputs else FLOAT_OUTPUTS
        if calibration is not None and (settings.activations == WIDE_BITS or settings.wide_layers):
            exported, kind = self._standard_16_bits(), wide(asked.activations_dtype)
            told = told | wide_tensors(exported, settings.wide_layers, kind)
            if settings.activations == WIDE_BITS:
                asked.activations_dtype = kind
        with quantizer_told(told):
            ORTQuantizer(exported, config=self.teacher.model.config).quantize(
                asked,
                save_dir=folder,
                file_suffix=None,
                calibration_tensors_range=None if calibration is None else self._ranges(calibration),
            )

    def _standard_16_bits(self) -> Path:
        if self._converted is None:
            self._converted = with_standard_16_bits(self.exported, self.folder.with_name("opset"))
        return self._converted

    def _ranges(self, calibration: KeptImages) -> Any:
        if self._calibrated is None or self._calibrated[0] is not calibration:
            self._calibrated = calibration, activation_ranges(self.exported, self.teacher, calibration)
        return self._calibrated[1]


def _lacks_for_target(target: str) -> str | None:
    """What this machine lacks to run a model of an ONNX Runtime preset as meant, None if nothing."""
    if target == "tensorrt":
        import onnxruntime

        has = "TensorrtExecutionProvider" in onnxruntime.get_available_providers()
        return None if has else "ONNX Runtime's TensorRT execution provider"
    if target == "arm64":
        return None if platform.machine().lower() in ("aarch64", "arm64") else "an ARM processor"
    # torch has no public name for these yet.
    supported = {"avx2": torch.cpu._is_avx2_supported, "avx512_vnni": torch.cpu._is_vnni_supported}[target]
    return None if supported() else f"the instruction set {target}"


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


def activation_ranges(exported: Path, teacher: Teacher, calibration: KeptImages) -> Any:
    """Minimum and maximum of every float tensor of an exported graph over kept patches alone.

    The exported graph embeds every patch. So it is cut in two at the tokens: PyTorch embeds the kept patches and
    hands their tokens to the second half, whose tensors keep the names that they have in the whole graph, and whose
    ranges hold for it therefore. The first half, the embedding, sees `KeptImages.filled_images`.

    Args:
        exported: path of the float32 graph.

    Returns:
        `onnxruntime.quantization.calibrate.TensorsData`, by tensor name.
    """
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    model = onnx.load(str(exported))
    boundary = token_tensor(model, teacher.model.family.backbone)
    with tempfile.TemporaryDirectory() as work:
        encoder = _tail(model, boundary, Path(work) / "encoder.onnx")
        embedding = Path(work) / "embedding.onnx"
        onnx.utils.extract_model(str(exported), str(embedding), ["pixel_values"], [boundary])
        ranges = dict(_min_max(embedding, "pixel_values", calibration.filled_images(teacher.model.grid), Path(work)))
        ranges |= dict(_min_max(encoder, boundary, calibration.tokens(teacher.model), Path(work)))
    return TensorsData(CalibrationMethod.MinMax, ranges)


def token_tensor(model: Any, backbone: str) -> str:
    """Name of the tensor that the embeddings hand to the encoder."""
    prefix = f"/{backbone}/embeddings/"
    # Constants of the embeddings may be used elsewhere too; they are not tokens.
    made = {
        name
        for node in model.graph.node
        if node.name.startswith(prefix) and node.op_type != "Constant"
        for name in node.output
    }
    used = {name for node in model.graph.node if not node.name.startswith(prefix) for name in node.input} & made
    assert len(used) == 1, f"the exported graph hands {sorted(used)} from embeddings to encoder, not one tensor"
    return used.pop()


def _tail(model: Any, boundary: str, path: Path) -> Path:
    """The part of a graph behind a tensor, with any number of tokens."""
    import onnx

    tail = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(
        [boundary], [output.name for output in model.graph.output]
    )
    shape = tail.graph.input[0].type.tensor_type.shape
    for dimension, name in zip(shape.dim, ("batch_size", "num_tokens")):
        dimension.dim_param = name
    # What was inferred for the full number of tokens would be false.
    del tail.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(tail), str(path))
    return path


def _min_max(
    path: Path, input_name: str, batches: Iterable[Tensor], work: Path
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Name, minimum and maximum of each float tensor of a graph over some input."""
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {input_name: batch.numpy()}

    calibrater = MinMaxCalibrater(path, augmented_model_path=str(work / f"augmented-{path.name}"))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    calibrater.collect_data(Reader())
    for name, data in calibrater.compute_data().items():
        yield name, data.range_value
