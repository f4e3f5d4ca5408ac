"""From a trainer's folder to a model repository. Publishing stands above the engines; this is the look upwards."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smi_hf.distillation.config import SparseDistillationConfig

if TYPE_CHECKING:
    from smi_hf.distillation.trainer import SparseDistillationTrainer
    from smi_hf.hub.repository import Repository


def open_model_repository(
    args: SparseDistillationConfig,
    *,
    token: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
) -> "Repository":
    """The repository that `hub_model_id` names (default: that of `output_dir`), found or made and checked for access.

    Args:
        token, private: those of the arguments if None.
        revision: branch.

    Raises:
        UsageError, RunError: as `smi_hf.hub.publish.open_for`.
    """
    from smi_hf.hub.publish import MODEL, open_for

    return open_for(
        MODEL,
        args.hub_model_id or Path(args.output_dir).resolve().name,
        private=bool(args.hub_private_repo if private is None else private),
        revision=revision,
        token=token or args.hub_token,
    )


def publish_student(
    trainer: "SparseDistillationTrainer",
    repository: "Repository",
    held_out: dict[str, Any] | None,
    *,
    message: str | None = None,
) -> str:
    """Publishes the student that a trainer has saved, with the record beside it or else a new one; returns the address.

    Args:
        held_out: for a new record: `num_images` and `agreement` on synthetic images, None if judged on real ones.
    """
    from smi_hf.distillation.records import distillation_record
    from smi_hf.evaluation.record import dataset_reference
    from smi_hf.hub.cards.model import is_record_of, save_model_record
    from smi_hf.hub.publish import MODEL, push_to

    folder = Path(trainer.args.output_dir)
    if not is_record_of(folder):
        datasets = [dataset_reference(trainer.taught_on, trainer.teacher)]
        started_from = trainer.accelerator.unwrap_model(trainer.model).config._name_or_path or None
        record = distillation_record(trainer, datasets, started_from=started_from)
        save_model_record(replace(record, held_out=held_out), folder)
    return push_to(repository, folder, MODEL, message=message)
