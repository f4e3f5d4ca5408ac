"""From a trainer's folder to a model repository: a `Trainer` that publishes its student with record and card."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from smi_hf.data import SparseDataset
from smi_hf.data.schema import CARD_FILE
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.evaluating import EvaluatingTrainer
from smi_hf.distillation.records import distillation_record
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, DatasetReference, HeldOut
from smi_hf.hub.cards.model import is_record_of, save_model_record
from smi_hf.hub.publish import MODEL, open_for, push_to
from smi_hf.hub.repository import Repository
from smi_hf.images.kept import KeptImages


class PublishingTrainer(EvaluatingTrainer):
    """What `SparseDistillationTrainer` does about the Hub: one commit at the end, with a record and its card.

    Attributes:
        taught_on: the images that taught, held-out ones among them.
    """

    taught_on: SparseDataset | KeptImages
    _repository: Repository | None = None

    def init_hf_repo(self, token: str | None = None, private: bool | None = None, revision: str | None = None) -> None:
        """Finds or makes the repository, and checks that it can be written to: before the first step, not after."""
        if not self.is_world_process_zero():
            return
        self._repository = open_model_repository(self.args, token=token, private=private, revision=revision)
        self.hub_model_id = self._repository.repo_id

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Nothing: see `init_hf_repo`."""

    def push_to_hub(
        self,
        commit_message: str | None = None,
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> str:
        """Publishes the student with its record and card in one commit; returns the address of the commit.

        A record that lies beside the student already, as `distill` writes it with its table, is published; otherwise
        one is written that says how the student was taught, and its agreement with the teacher if it was judged by
        that. Of a student that `load_student` did not return it says that its origin is not known. It goes where
        `hub_model_id` and `hub_private_repo` of the arguments say.

        Args:
            commit_message, token, revision: as for `Trainer.push_to_hub`.
            blocking: must be true: the commit is the last step, and its success is what is returned.
            **options: must be empty: a card is rendered from the record alone.

        Raises:
            UsageError: the student was taught on images in memory, or the Hub refuses.
            RunError: the Hub could not be reached, or kept failing.
        """
        if not isinstance(self.taught_on, SparseDataset):
            raise UsageError(
                "the student was taught on images in memory, and its record could not say what they are; publish one "
                "that was taught on a dataset of smi_hf.load_sparse_dataset"
            )
        if refused := [*options, *([] if blocking else ["blocking"])]:
            raise UsageError(f"{refused[0]} is not taken by push_to_hub; leave it out")
        if self._repository is None or token or revision:
            self.init_hf_repo(token, revision=revision)
        self.save_model(_internal_call=True)
        held_out = self.judge_held_out()
        url = ""
        if self._repository is not None:
            url = publish_student(self, self._repository, held_out, message=commit_message)
        self.accelerator.wait_for_everyone()
        return url


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
    trainer: PublishingTrainer,
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
        datasets = [DatasetReference.of(trainer.taught_on, trainer.teacher)]
        record = distillation_record(trainer, datasets, more=trainer.steps)
        save_model_record(replace(record, held_out=held_out), folder)
    return push_to(repository, folder, MODEL, message=message)
