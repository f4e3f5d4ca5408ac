"""ONNX Runtime through optimum-onnx: static int8 as QDQ, per-channel symmetric weights, min-max activations.

Legend: `B` images, `T` tokens, `D` hidden size.
"""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.errors import RunError, UsageError
from smi_hf.evaluation.accuracy import Predictor
from smi_hf.models import Teacher
from smi_hf.patches import take_slots
from smi_hf.quantization.backends.base import QuantizationSettings, register_backend
from smi_hf.quantization.calibration import CalibrationSet
from smi_hf.registry import suggest

logger = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
TARGETS = ("avx512_vnni", "avx2", "arm64", "tensorrt")
_CALIBRATION_BATCH = 8


def require_onnx() -> None:
    """Raises `UsageError` with the pip command, or the lane that has it, if the extra is absent."""
    missing = missing_packages("onnx")
    if not missing:
        return
    if dependency_lane() == "latest":
        raise UsageError(
            "back end 'onnx' needs optimum-onnx, which needs transformers 4: use the full lane (make install, "
            "constraints-full.txt)"
        )
    raise UsageError(f"back end 'onnx' lacks {', '.join(missing)}: pip install \"smi-hf[onnx]\"")


@register_backend("onnx")
class OnnxBackend:
    """Writes what `ORTModelForImageClassification.from_pretrained` reads."""

    def quantize(
        self,
        teacher: Teacher,
        image_processor: Any,
        calibration: CalibrationSet | None,
        settings: QuantizationSettings,
        output_dir: Path,
    ) -> None:
        """Exports, calibrates on the kept patches and quantizes; `output_dir` appears when all is done.

        Args:
            calibration: None for dynamic quantization, which takes activation ranges at run time.

        Raises:
            UsageError: the extra is absent, `output_dir` exists, or a setting does not exist.
        """
        require_onnx()
        if settings.target not in TARGETS:
            raise UsageError(
                f"there is no target {settings.target!r}{suggest(settings.target, list(TARGETS))}; available: "
                f"{', '.join(TARGETS)}"
            )
        if output_dir.exists():
            raise UsageError(f"output_dir {output_dir} exists; choose another folder, or remove it")
        output_dir.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename: a failure leaves no half-written model.
        with tempfile.TemporaryDirectory(prefix=f".{output_dir.name}-", dir=output_dir.parent) as work:
            exported = export(teacher, image_processor, Path(work) / "float")
            quantized = Path(work) / "quantized"
            _quantize(exported, teacher, calibration, settings, quantized)
            image_processor.save_pretrained(quantized)
            shutil.move(quantized, output_dir)

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Predictor:
        """Logits of the stock ONNX Runtime model."""
        require_onnx()
        from optimum.onnxruntime import ORTModelForImageClassification

        model = ORTModelForImageClassification.from_pretrained(folder)

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return np.asarray(model(pixel_values=pixels_BCHW).logits)

        return predict

    def reference(self, teacher: Teacher, image_processor: Any, folder: Path) -> tuple[Predictor, Path]:
        export(teacher, image_processor, folder)
        return self.load(folder), folder


def export(teacher: Teacher, image_processor: Any, folder: Path) -> Path:
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
    image_processor.save_pretrained(checkpoint)
    # Every family here takes images and gives logits, as ViT does; the exporter knows some of them alone.
    description = ViTOnnxConfig(teacher.model.config, task="image-classification")
    try:
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


def _quantize(
    exported: Path, teacher: Teacher, calibration: CalibrationSet | None, settings: QuantizationSettings, output: Path
) -> None:
    import onnx
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    graph = onnx.load(str(exported)).graph
    _check_names(settings.operators, sorted({node.op_type for node in graph.node}), "operator")
    _check_names(settings.exclude, [node.name for node in graph.node], "node")
    preset = getattr(AutoQuantizationConfig, settings.target)
    options: dict[str, Any] = {"nodes_to_exclude": list(settings.exclude)}
    if settings.operators != ("all",):
        options["operators_to_quantize"] = list(settings.operators)
    if settings.target != "tensorrt":
        options |= {"is_static": calibration is not None, "per_channel": True}
    quantizer = ORTQuantizer(exported, config=teacher.model.config)
    quantizer.quantize(
        preset(**options),
        save_dir=output,
        file_suffix=None,
        calibration_tensors_range=None if calibration is None else activation_ranges(exported, teacher, calibration),
    )


def _check_names(asked: tuple[str, ...], available: list[str], kind: str) -> None:
    for name in asked:
        if name != "all" and name not in available:
            raise UsageError(
                f"the graph has no {kind} {name!r}{suggest(name, available)}; it has {', '.join(available[:40])}"
                f"{', ...' if len(available) > 40 else ''}"
            )


def activation_ranges(exported: Path, teacher: Teacher, calibration: CalibrationSet) -> Any:
    """Minimum and maximum of every float tensor of an exported graph over kept patches alone.

    The exported graph embeds every patch. So it is cut in two at the tokens: PyTorch embeds the kept patches and
    hands their tokens to the second half, whose tensors keep the names that they have in the whole graph, and whose
    ranges hold for it therefore. The first half, the embedding, is shown images in which a kept patch of the same
    image stands in for each pruned one: the same values, so the same minimum and maximum.

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
        ranges = dict(_min_max(embedding, "pixel_values", _filled_images(teacher, calibration), Path(work)))
        ranges |= dict(_min_max(encoder, boundary, _tokens(teacher, calibration), Path(work)))
    return TensorsData(CalibrationMethod.MinMax, ranges)


def token_tensor(model: Any, backbone: str) -> str:
    """Name of the tensor that the embeddings hand to the encoder."""
    prefix = f"/{backbone}/embeddings/"
    # Constants of the embeddings may serve elsewhere too: they are nobody's tokens.
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


def _tokens(teacher: Teacher, calibration: CalibrationSet) -> Any:
    with torch.no_grad():
        for pixels_BCHW, kept_BK in calibration.batches(_CALIBRATION_BATCH):
            yield teacher.model.embed(teacher.model.grid.cut(pixels_BCHW, kept_BK), kept_BK).numpy()


def _filled_images(teacher: Teacher, calibration: CalibrationSet) -> Any:
    grid = teacher.model.grid
    for pixels_BCHW, kept_BK in calibration.batches(_CALIBRATION_BATCH):
        patches_BKCPQ = grid.cut(pixels_BCHW, kept_BK)
        # Slot of each patch of the grid: its own where it is kept, else any.
        slots_BN = grid.slots(kept_BK).clamp_min(0)
        every_BN = grid.all_patches(len(pixels_BCHW))
        yield grid.paste(take_slots(patches_BKCPQ, slots_BN), every_BN).numpy()


def _min_max(path: Path, input_name: str, batches: Any, work: Path) -> Any:
    """(name, (minimum, maximum)) of each float tensor of a graph over some input."""
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {input_name: batch}

    calibrater = MinMaxCalibrater(path, augmented_model_path=str(work / f"augmented-{path.name}"))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    calibrater.collect_data(Reader())
    for name, data in calibrater.compute_data().items():
        yield name, data.range_value
