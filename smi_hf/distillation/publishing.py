"""From a trainer's folder to a model repository."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.data.schema import CARD_FILE
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.records import distillation_record
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, DatasetReference, HeldOut
from smi_hf.hub.cards.model import is_record_of, save_model_record
from smi_hf.hub.publish import MODEL, open_for, push_to
from smi_hf.hub.repository import Repository

if TYPE_CHECKING:
    from smi_hf.distillation.trainer import SparseDistillationTrainer


def open_model_repository(
    args: SparseDistillationConfig,
    *,
    token: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
) -> Repository:
    """The repository that `hub_model_id` names (default: that of `output_dir`), found or made and checked for access.

    Args:
        token, private, revision: those of the arguments if None.

    Raises:
        UsageError, RunError: as `smi_hf.hub.publish.open_for`.
    """
    return open_for(
        MODEL,
        args.hub_model_id or Path(args.output_dir).resolve().name,
        private=bool(args.hub_private_repo if private is None else private),
        revision=revision or args.hub_revision,
        token=token or args.hub_token,
    )


def publish_student(
    trainer: "SparseDistillationTrainer",
    repository: Repository,
    held_out: HeldOut | None,
    *,
    message: str | None = None,
) -> str:
    """Publishes the student that a trainer has saved, with the record beside it or a new one; returns the address.

    Args:
        held_out: for a new record; None of a student that was judged on real images.
    """
    folder = Path(trainer.args.output_dir)
    if (folder / CARD_FILE).exists() and not (folder / RESULTS_FILE).exists():
        raise UsageError(f"{folder / CARD_FILE} is no card of smi_hf and would be replaced; move it away, then push")
    if not is_record_of(folder):
        record = distillation_record(trainer, [DatasetReference.of(trainer.taught_on, trainer.teacher)])
        save_model_record(replace(record, held_out=held_out), folder)
    return push_to(repository, folder, MODEL, message=message)
