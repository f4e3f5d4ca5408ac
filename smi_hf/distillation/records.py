"""What the record of a student says of how it was taught, and what is written beside a student."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from smi_hf.distillation.quantization import StudentQuantization
from smi_hf.environment import describe_environment
from smi_hf.evaluation.record import DatasetReference, ModelRecord, StudentReference
from smi_hf.files import folder_made_whole
from smi_hf.hub.cards.model import save_model_record
from smi_hf.models import EmbeddingHead
from smi_hf.models.classification import is_headless

if TYPE_CHECKING:
    from smi_hf.distillation.trainer import SparseDistillationTrainer

QUANTIZED_FOLDER = "quantized"


def distillation_record(
    trainer: "SparseDistillationTrainer",
    datasets: Sequence[DatasetReference],
    *,
    more: Mapping[str, Any] | None = None,
    quantization: StudentQuantization | None = None,
) -> ModelRecord:
    """The record of a trainer's student, not judged yet.

    Args:
        datasets: the first taught the student.
        more: settings that the trainer does not know.
        quantization: what rounded the student as it learned.
    """
    args, model, origin = trainer.args, trainer.accelerator.unwrap_model(trainer.model), trainer.origin
    student = StudentReference(
        name=origin.name,
        revision=origin.revision,
        model_type=model.config.model_type,
        license=origin.license,
        from_scratch=origin.from_scratch,
        num_parameters=model.num_parameters(),
        sees=trainer.sees,
        head=trainer.teacher.head.reference(model) if is_headless(model) else None,
    )
    settings = {
        "preset": args.preset,
        **args.distillation_settings,
        **args.training_settings,
        "has_new_head": origin.has_new_head,
        **({} if origin.layers is None else {"student_layers": list(origin.layers)}),
        **(more or {}),
    }
    if quantization is not None:
        settings["quantization"] = dict(quantization.settings)
    return ModelRecord(
        "distilled",
        trainer.teacher.reference(),
        tuple(datasets),
        settings,
        describe_environment(args.device, quantization and quantization.extra),
        student=student,
        history=origin.history,
        num_labels=len(trainer.teacher.label_names),
    )


def integers_record(record: ModelRecord, quantization: StudentQuantization) -> ModelRecord:
    """The record of the integers that a student was quantized to, from the student's."""
    settings = dict(record.settings)
    # One flat list: the quantizer's options as in any quantized model's record, the training's behind.
    settings = settings.pop("quantization") | settings
    # The curve is a picture of the training, and lies beside the student.
    return replace(record, kind="quantized", settings=settings, runtime=quantization.runtime, pictures=(), curves={})


def save_integers(
    model: PreTrainedModel,
    image_processor: Any,
    record: ModelRecord,
    folder: Path,
    quantization: StudentQuantization,
    head: EmbeddingHead | None = None,
) -> None:
    """Writes a student in integers, with image processor, record and card, whole or not at all.

    Args:
        model: the student as it was taught.
        record: the student's.
        folder: new, or that of the same integers, whose record is written anew.
        head: of an image tower or a backbone, None of a classifier.
    """
    record = integers_record(record, quantization)
    if folder.is_dir():
        save_model_record(record, folder)
        return
    with folder_made_whole(folder) as work:
        quantization.save(model, work)
        image_processor.save_pretrained(work)
        if head is not None:
            head.save(work)
        save_model_record(record, work)
