"""ONNX Runtime: static int8 as QDQ, per-channel symmetric weights, min-max activations.

Under transformers 4 Optimum exports and quantizes; from 5 on transformers itself exports, and ONNX Runtime's own
quantizer does the rest. What is quantized, and by which ranges, is the same in both lanes.

Legend: `B` images, `C` channels, `H W` image pixels.
"""

import logging
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.environment import dependency_lane
from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.images.tiles import whole_images
from smi_hf.models import Teacher
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import WIDE_BITS, QuantizationConfig
from smi_hf.quantization.exports.quiet import quiet
from smi_hf.quantization.qdq import (
    FLOAT_OUTPUTS,
    QdqRequest,
    of_16_bits,
    wide_tensors,
    with_room,
    with_standard_16_bits,
)

logger = logging.getLogger(__name__)

# Set before anything loads ONNX Runtime. From version 1.29 on, its Linux wheels send usage events to their maker, and
# the function that turns this off runs too late for the first ones. Users of private models do not want such reports.
# Set the variable to 0 to send them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MODEL_FILE = "model.onnx"


@register_backend("onnx")
class OnnxBackend:
    """Writes what the lane's own loader reads: Optimum's `ORTModelForImageClassification`, or transformers 5's
    `ExportedModel`.
    """

    extra = "onnx"
    widths = ((8, 8), (8, WIDE_BITS))
    operators = ("MatMul", "Gemm")
    dense_operators = ("Conv", "MatMul", "Gemm")
    targets = ("avx512_vnni", "avx2", "arm64", "tensorrt")
    has_quantized_outputs = True
    has_wide_layers = True
    is_dynamic_possible = True
    is_simulation = False
    runtime = Runtime(
        "ONNX Runtime", "optimum" if dependency_lane() == "full" else "transformers", ("onnx", "onnxruntime")
    )

    def prepare(self, teacher: Teacher, work: Path) -> "OnnxFloatModel":
        return OnnxFloatModel(teacher, exporter().export(teacher, work / "float"))

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The answer of the model of either lane, by ONNX Runtime."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return session.run(None, {"pixel_values": pixels_BCHW})[0]

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

    def load(self) -> Answer:
        return OnnxBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        target = settings.target or OnnxBackend.targets[0]
        if target == "tensorrt" and (settings.activations == WIDE_BITS or settings.wide_layers):
            raise UsageError("target 'tensorrt' has no activations of 16 bits; choose another target, or 8 bits")
        if lack := _lacks_for_target(target):
            logger.warning(
                "target %s: this machine lacks %s; accuracy and speed measured here are not those of the target",
                target,
                lack,
            )
        graph, options = self.exported, {} if settings.quantize_outputs else FLOAT_OUTPUTS
        ranges, is_wide = None if calibration is None else self._ranges(calibration), settings.activations == WIDE_BITS
        if ranges is not None and (is_wide or settings.wide_layers):
            graph = self._standard_16_bits()
            named = wide_tensors(graph, settings.wide_layers)
            options = options | of_16_bits(named)
            ranges = with_room(ranges, ranges.keys() if is_wide else named)
        request = QdqRequest(
            graph,
            target,
            tuple(layers),
            tuple(sorted({self.layers[name] for name in layers})),
            ranges,
            options,
            is_wide,
        )
        # ONNX Runtime's quantizer warns of each norm, through the root logger, which it thereby sets up for everybody.
        with quiet("root"):
            exporter().save_quantized(self.exported, request, self.teacher.model.config, folder)

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


def exporter() -> ModuleType:
    """What exports and quantizes in this lane: `export` and `save_quantized` of a module of `quantization.exports`."""
    if dependency_lane() == "full":
        from smi_hf.quantization.exports import optimum_onnx

        return optimum_onnx
    from smi_hf.quantization.exports import transformers_onnx

    return transformers_onnx


def activation_ranges(exported: Path, teacher: Teacher, calibration: KeptImages) -> Any:
    """Minimum and maximum of every float tensor of an exported graph over kept patches alone.

    The exported graph embeds every patch. So it is cut in two at the tokens: PyTorch embeds the kept patches and
    hands their tokens to the second half, whose tensors keep the names that they have in the whole graph, and whose
    ranges hold for it therefore. The first half, the embedding, sees `KeptImages.filled_images`. A graph that cannot
    be cut there, as what is behind knows positions, sees `smi_hf.images.tiles.whole_images`.

    Args:
        exported: path of the float32 graph.

    Returns:
        `onnxruntime.quantization.calibrate.TensorsData`, by tensor name.
    """
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    vision = teacher.model
    with tempfile.TemporaryDirectory() as work:
        if not vision.takes_any_tokens:
            images = whole_images(calibration, vision.grid)
            ranges = dict(_min_max(exported, "pixel_values", images, Path(work)))
            return TensorsData(CalibrationMethod.MinMax, ranges)
        model = onnx.load(str(exported))
        boundary = token_tensor(model, vision.embeddings_path)
        encoder = _tail(model, boundary, Path(work) / "encoder.onnx")
        embedding = Path(work) / "embedding.onnx"
        onnx.utils.extract_model(str(exported), str(embedding), ["pixel_values"], [boundary])
        ranges = dict(_min_max(embedding, "pixel_values", calibration.filled_images(vision.grid), Path(work)))
        ranges |= dict(_min_max(encoder, boundary, calibration.tokens(vision), Path(work)))
    return TensorsData(CalibrationMethod.MinMax, ranges)


def token_tensor(model: Any, embeddings_path: str) -> str:
    """Name of the tensor that the embeddings, of a path such as "vit.embeddings", hand to the encoder."""
    prefix = f"/{embeddings_path.replace('.', '/')}/"
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
    for output in tail.graph.output:
        output.type.tensor_type.ClearField("shape")
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
