"""ONNX Runtime: static int8 as QDQ, per-channel symmetric weights, min-max activations.

Optimum exports the graph under transformers 4, transformers itself from 5 on; ONNX Runtime's own quantizer does the
rest in both lanes.

Legend: `B` images, `C` channels, `H W` image pixels.
"""

import logging
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.environment import dependency_lane
from smi_hf.evaluation.predictors import Logits
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import QuantizationConfig

logger = logging.getLogger(__name__)

# Set before anything loads ONNX Runtime. From version 1.29 on, its Linux wheels send usage events to their maker, and
# the function that turns this off runs too late for the first ones. Users of private models do not want such reports.
# Set the variable to 0 to send them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MODEL_FILE = "model.onnx"

# What a MatMul or Gemm writes stays in floating point. ONNX Runtime then fuses each with the rescaling of its result.
# A quantized result is written in 8 bits, read back and widened instead, breaks the fusions with bias and GELU, and
# drags the softmax into a slow 8-bit kernel: the static model of DeiT-Tiny takes 243 ms for 32 images so, 172 with
# outputs in float, float32 290 (README.md).
FLOAT_OUTPUTS = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}


@register_backend("onnx")
class OnnxBackend:
    """Writes what the lane's own loader reads: Optimum's `ORTModelForImageClassification`, or transformers 5's
    `ExportedModel`.
    """

    extra = "onnx"
    widths = ((8, 8),)
    operators = ("MatMul", "Gemm")
    targets = ("avx512_vnni", "avx2", "arm64", "tensorrt")
    has_quantized_outputs = True
    is_dynamic_possible = True
    is_simulation = False
    runtime = Runtime(
        "ONNX Runtime", "optimum" if dependency_lane() == "full" else "transformers", ("onnx", "onnxruntime")
    )

    def prepare(self, teacher: Teacher, work: Path) -> "OnnxFloatModel":
        return OnnxFloatModel(teacher, export(teacher, work / "float"))

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Logits:
        """Logits of the model of either lane, by ONNX Runtime."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return session.run(["logits"], {"pixel_values": pixels_BCHW})[0]

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

    def load(self) -> Logits:
        return OnnxBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        target = settings.target or OnnxBackend.targets[0]
        if lack := _lacks_for_target(target):
            logger.warning(
                "target %s: this machine lacks %s; accuracy and speed measured here are not those of the target",
                target,
                lack,
            )
        ranges = None if calibration is None else self._ranges(calibration)
        types = sorted({self.layers[name] for name in layers})
        options = {} if settings.quantize_outputs else FLOAT_OUTPUTS
        self._save(quantized_graph(self.exported, target, list(layers), types, ranges, options), folder)

    def _save(self, graph: Any, folder: Path) -> None:
        import onnx

        folder.mkdir()
        self.teacher.model.config.save_pretrained(folder)
        if (self.folder / "export.json").is_file():
            from smi_hf.quantization.exports.transformers_onnx import save_like

            save_like(self.exported, graph, folder)
        else:
            onnx.save(graph, str(folder / MODEL_FILE))

    def _ranges(self, calibration: KeptImages) -> Any:
        if self._calibrated is None or self._calibrated[0] is not calibration:
            self._calibrated = calibration, activation_ranges(self.exported, self.teacher, calibration)
        return self._calibrated[1]


def quantized_graph(
    exported: Path, target: str, layers: list[str], types: list[str], ranges: Any, options: Mapping[str, Any]
) -> Any:
    """An exported graph with some of its nodes in int8, as an `onnx.ModelProto`.

    Args:
        exported: path of the float32 graph.
        target: one of `OnnxBackend.targets`. Its types of weights and activations, and what else the runtime needs,
            are those that Optimum's `AutoQuantizationConfig` has for it.
        layers, types: names and types of the nodes.
        ranges: of activations, as `activation_ranges` gives them; None takes them at run time.
        options: further `extra_options` of ONNX Runtime's quantizers.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    model = onnx.load(str(exported))
    # Dynamic quantization transposes weights and then finds these shapes wrong.
    weights = {tensor.name for tensor in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    is_tensorrt = target == "tensorrt"
    of_target = {
        "WeightSymmetric": True,
        "ActivationSymmetric": is_tensorrt,
        # TensorRT wants a pair of its own at each reader, and at weights too.
        "DedicatedQDQPair": is_tensorrt,
        "AddQDQPairToWeight": is_tensorrt,
    }
    arguments = {
        "model": model,
        "per_channel": True,
        "reduce_range": False,
        "weight_qType": QuantType.QUInt8 if target == "avx2" else QuantType.QInt8,
        "activation_qType": QuantType.QInt8 if is_tensorrt else QuantType.QUInt8,
        "tensors_range": ranges,
        "nodes_to_quantize": layers,
        "nodes_to_exclude": [],
        "op_types_to_quantize": types,
        "extra_options": of_target | dict(options),
    }
    if ranges is None:
        quantizer = ONNXQuantizer(**arguments, mode=QuantizationMode.IntegerOps, static=False)
    else:
        quantizer = QDQQuantizer(**arguments)
    quantizer.quantize_model()
    return quantizer.model.model


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
        RunError: the exporter of this lane cannot.
    """
    if dependency_lane() == "full":
        from smi_hf.quantization.exports import optimum_onnx as exporter
    else:
        from smi_hf.quantization.exports import transformers_onnx as exporter
    return exporter.export(teacher, folder)


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
