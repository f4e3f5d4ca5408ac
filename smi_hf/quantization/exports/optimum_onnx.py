"""A teacher as float32 ONNX by Optimum's exporter, in the *full* lane."""

import warnings
from pathlib import Path

import torch

from smi_hf.errors import RunError
from smi_hf.models import Teacher

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
