"""What a folder's student is taught: a marker that says with which settings, and in the end that it has been.

A lesson is one training. Its folder holds the checkpoints while it lasts, and then the student. The marker is written
first, so that the folder is known as ours, and last, so that a student with a finished marker is whole.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from transformers import PreTrainedModel

from smi_hf.data.report_file import remove_report
from smi_hf.data.schema import CARD_FILE
from smi_hf.distillation.checkpoints import SETTINGS_FILE, differences, is_checkpoint, load_saved
from smi_hf.distillation.curves import Curve
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.files import contents, disk_errors, file_sha256
from smi_hf.json_record import JsonRecord, checked
from smi_hf.models.embeddings import HEAD_FILE

if TYPE_CHECKING:
    from smi_hf.distillation.trainer import SparseDistillationTrainer

logger = logging.getLogger(__name__)

# What `Trainer.save_model` writes that makes up a student.
_STUDENT_FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    HEAD_FILE,
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
)
# What it writes beside that.
_BESIDE = (SETTINGS_FILE, "training_args.bin")
_SHOWN_STRANGERS = 3


@dataclass(frozen=True)
class Taught:
    """A student after its training, and how that went.

    Args:
        num_images: how many images taught it.
        seconds: of its training, of all sessions together; None of a student that was not trained.
        curve: its accuracy during training.
        steps: as of `SparseDistillationTrainer`.
    """

    model: PreTrainedModel
    num_images: int
    seconds: float | None = None
    curve: Curve = ()
    steps: dict[str, int] = field(default_factory=dict)


@checked
@dataclass(frozen=True)
class Lesson(JsonRecord):
    """The marker `lesson.json`.

    Args:
        settings: everything that decides what the student learns.
        seconds, curve, steps: as of `Taught`; None and empty until it is taught.
        files: sha256 of each file of the student, by name; empty until it is taught.
    """

    file_name = "lesson.json"
    version = 1
    noun = "lesson"
    described = "a student of smi-hf distill"
    made_with = "smi-hf distill"

    settings: dict[str, Any]
    seconds: float | None = None
    curve: tuple[tuple[float, float], ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def is_taught(self) -> bool:
        return bool(self.files)

    def taught(self, model: PreTrainedModel, num_images: int) -> Taught:
        """How the lesson went, with the student that it taught."""
        return Taught(model, num_images, self.seconds, self.curve, self.steps)

    @classmethod
    def found_in(cls, folder: Path) -> Self | None:
        """The marker of a folder, None if it has none.

        Raises:
            UsageError: it cannot be read.
        """
        return cls.load(folder) if (folder / cls.file_name).is_file() else None

    def check_same(self, settings: Mapping[str, Any], folder: Path) -> None:
        """Checks that a folder's lesson is the one that is asked for.

        Raises:
            UsageError: it is another one; names the differences.
        """
        if changed := differences(self.settings, settings):
            raise UsageError(
                f"output_dir {folder} holds a student that {'was' if self.is_taught else 'is being'} taught "
                f"otherwise: {changed}; give the old settings to continue, choose another folder, or discard it with "
                f"--overwrite_output_dir true"
            )

    def check_whole(self, folder: Path) -> None:
        """Checks that a taught student is as it was left.

        Raises:
            UsageError: one of its files is gone or was changed.
        """
        for name, digest in self.files.items():
            path = folder / name
            if not path.is_file() or file_sha256(path) != digest:
                reason = "was changed since" if path.is_file() else "is gone"
                raise UsageError(
                    f"{path} {reason}, and {self.file_name} is the record of the student as it was; choose another "
                    f"output_dir, or discard it with --overwrite_output_dir true"
                )


def teach(
    trainer: "SparseDistillationTrainer", folder: Path, settings: Mapping[str, Any], *, is_quantized: bool = False
) -> Taught:
    """Teaches a trainer's student and saves it, or loads the student if it has been taught already.

    A training that was cut off continues from its last complete checkpoint.

    Args:
        trainer: with `folder` as its output_dir and a student that has learned nothing yet.
        settings: of the lesson.
        is_quantized: whether the student is quantized as it learns.

    Raises:
        UsageError: the folder holds another lesson, or a student that was changed since.
        RunError: the loss is not finite.
    """
    lesson = Lesson.found_in(folder) or Lesson(as_json(settings))
    lesson.check_same(settings, folder)
    model = trainer.accelerator.unwrap_model(trainer.model)
    # Nobody writes before everybody has looked.
    trainer.accelerator.wait_for_everyone()
    if lesson.is_taught:
        load_taught(lesson, folder, model, is_quantized=is_quantized)
        if trainer.is_world_process_zero():
            logger.info("the student in %s is taught already", folder)
        return lesson.taught(model, len(trainer.taught_on))
    if trainer.is_world_process_zero():
        lesson.save(folder)
    trainer.begin_or_continue()
    taught = Taught(model, len(trainer.taught_on), trainer.seconds, trainer.curve, trainer.steps)
    trainer.save_model()
    finish(trainer, folder, lesson, taught)
    return taught


def finish(trainer: "SparseDistillationTrainer", folder: Path, lesson: Lesson, taught: Taught) -> None:
    """Marks a lesson as taught, by the main process, once its student is saved."""
    if trainer.is_world_process_zero():
        paths = {path for pattern in _STUDENT_FILES for path in folder.glob(pattern)}
        assert paths, "the student was not saved"
        files = {path.name: file_sha256(path) for path in sorted(paths)}
        seconds = round(taught.seconds or 0.0, 3)
        replace(lesson, seconds=seconds, curve=taught.curve, steps=taught.steps, files=files).save(folder)
    trainer.accelerator.wait_for_everyone()


def load_taught(lesson: Lesson, folder: Path, model: PreTrainedModel, *, is_quantized: bool = False) -> None:
    """Loads the student of a finished lesson into a model of its kind."""
    lesson.check_whole(folder)
    load_saved(folder, model, is_quantized=is_quantized)
    logger.debug("the student in %s is taught already", folder)


def check_output_folder(folder: Path) -> None:
    """Checks, without writing, that a student can be written into a folder: new, empty, or of a lesson.

    Raises:
        UsageError: it holds files of other origin, or is no folder, or cannot be written to.
    """
    with disk_errors(folder):
        strangers = [path.name for path in contents(folder)]
    if strangers and Lesson.found_in(folder) is None:
        shown = ", ".join(strangers[:_SHOWN_STRANGERS]) + (", ..." if len(strangers) > _SHOWN_STRANGERS else "")
        raise UsageError(
            f"output_dir {folder} holds files that smi-hf distill did not write ({shown}; it has no "
            f"{Lesson.file_name}); nothing there was changed, so choose another folder"
        )


def discard(folder: Path) -> None:
    """Removes a student from the folder of its lesson: what its marker and its record list, and its checkpoints.

    Anything else that lies there stays, and so does the marker, so that the folder is known as ours.
    """
    lesson = Lesson.found_in(folder)
    names = [*lesson.files, *_BESIDE] if lesson else []
    if lesson is not None and (folder / RESULTS_FILE).is_file():
        record = ModelRecord.load(folder)
        names += [*record.files, *record.pictures, CARD_FILE, RESULTS_FILE]
    for name in names:
        (folder / name).unlink(missing_ok=True)
    remove_report(folder)
    for path in folder.iterdir():
        if is_checkpoint(path) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are read back."""
    return json.loads(json.dumps(settings, default=str))
