"""What the record of a student says of how it was taught."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smi_hf.distillation.trainer import SparseDistillationTrainer
from smi_hf.environment import describe_environment
from smi_hf.evaluation.record import ModelRecord
from smi_hf.models.licenses import read_license

# Of Trainer's arguments, those that decide what a student learns.
_TRAINING = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_grad_norm",
    "bf16",
    "fp16",
)


def distillation_record(
    trainer: SparseDistillationTrainer,
    datasets: list[dict[str, Any]],
    *,
    started_from: str | None = None,
    from_scratch: bool = False,
    more: Mapping[str, Any] | None = None,
    extra: str | None = None,
) -> ModelRecord:
    """The record of a trainer's student, not judged yet.

    Args:
        datasets: as of `dataset_reference`; the first taught the student.
        started_from: Hub id or folder that the student was loaded from; its name alone is kept of a folder.
        from_scratch: whether only its architecture came from there.
        more: settings that the trainer does not know.
        extra: extra of smi-hf whose versions matter as well.
    """
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    training = args.to_dict()
    revision = getattr(model.config, "_commit_hash", None)
    is_local = started_from is not None and Path(started_from).exists()
    student = {
        "name": Path(started_from).resolve().name if is_local else started_from,
        "revision": None if is_local else revision,
        "model_type": model.config.model_type,
        "license": None if started_from is None else read_license(started_from, revision=revision),
        "from_scratch": from_scratch,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sees": trainer.student.sees,
    }
    settings = {
        **args.distillation_settings,
        **{name: training[name] for name in _TRAINING},
        "num_processes": args.world_size,
        **(more or {}),
    }
    return ModelRecord(
        "distilled",
        trainer.teacher.reference(),
        datasets,
        settings,
        describe_environment(args.device, extra),
        student=student,
    )
