"""Inverting and distilling in turn, as the paper does: the pool of images grows while the student learns.

Source: Sparse Model Inversion (arXiv 2510.27186), section on knowledge transfer.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate.state import PartialState

from smi_hf.data import SparseDataset
from smi_hf.distillation.curves import Curve
from smi_hf.distillation.lessons import Lesson, Taught, discard, finish, load_taught, teach
from smi_hf.distillation.loading import StudentModel
from smi_hf.distillation.trainer import SparseDistillationTrainer
from smi_hf.errors import UsageError

logger = logging.getLogger(__name__)

_FOLDER = "round-"


@dataclass(frozen=True)
class Rounds:
    """How a pool of images grows while a student learns from it.

    Args:
        num_rounds: at least 1.
        images_per_round: how many images each round adds, at least 1.
        grow: from a number of images to the pool of that size. Images that are there stay as they are and are not
            made again, so that a run which was cut off continues.
        settings: what decides which images `grow` makes, as JSON has it. A student that was taught with others is
            refused before anything is made.

    Raises:
        UsageError: a number is out of range.
    """

    num_rounds: int
    images_per_round: int
    grow: Callable[[int], SparseDataset]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("num_rounds", "images_per_round"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, but {getattr(self, name)} was given")

    @property
    def num_images(self) -> int:
        """Of the pool in the end."""
        return self.num_rounds * self.images_per_round

    def lesson_settings(self) -> dict[str, Any]:
        """What the marker of a student that they teach says of them."""
        return {"rounds": self.num_rounds, "images_per_round": self.images_per_round, "images": dict(self.settings)}


def teach_in_rounds(
    student: StudentModel,
    rounds: Rounds,
    make_trainer: Callable[[StudentModel, SparseDataset, Path], SparseDistillationTrainer],
    folder: Path,
    settings: Mapping[str, Any],
) -> tuple[SparseDistillationTrainer, Taught]:
    """Grows the pool, trains on all of it, and so on. A run that is cut off continues, between rounds and inside one.

    Args:
        student: which has learned nothing yet; it learns in place.
        make_trainer: from student, pool and folder to a trainer.
        folder: holds a folder for each round, and in the end the student.
        settings: of the lesson as a whole.

    Returns:
        A trainer of the student on the whole pool, which has trained nothing itself, and how the rounds went.

    Raises:
        UsageError: a folder holds another lesson, or a student that was changed since.
        RunError: the loss is not finite.
    """
    lesson = Lesson.found_in(folder)
    if lesson is not None and lesson.is_taught:
        load_taught(lesson, folder, student.model)
        trainer = make_trainer(student, rounds.grow(rounds.num_images), folder)
        return trainer, lesson.taught(student.model, rounds.num_images)
    seconds, num_epochs, curve, steps = 0.0, 0.0, (), Counter()
    for number in range(1, rounds.num_rounds + 1):
        taught = _teach_round(number, student, rounds, make_trainer, folder, settings)
        seconds += taught.seconds or 0.0
        # A round begins with the student that the round before kept.
        steps.update(taught.steps)
        curve += _later(taught.curve, num_epochs)
        num_epochs += settings["num_train_epochs"]
    trainer = make_trainer(student, rounds.grow(rounds.num_images), folder)
    taught = Taught(student.model, rounds.num_images, seconds, curve, dict(steps))
    trainer.save_model()
    assert lesson is not None, "whoever calls has marked the folder"
    finish(trainer, folder, lesson, taught)
    return trainer, taught


def discard_rounds(folder: Path) -> None:
    """Removes the rounds' students from the folder of a lesson; a round's folder with other files in it stays."""
    for path in folder.glob(f"{_FOLDER}*"):
        if path.is_dir() and not path.is_symlink() and Lesson.found_in(path) is not None:
            discard(path)
            (path / Lesson.file_name).unlink()
            if not any(path.iterdir()):
                path.rmdir()


def _teach_round(
    number: int,
    student: StudentModel,
    rounds: Rounds,
    make_trainer: Callable[[StudentModel, SparseDataset, Path], SparseDistillationTrainer],
    output_dir: Path,
    settings: Mapping[str, Any],
) -> Taught:
    folder, num_images = output_dir / f"{_FOLDER}{number}", number * rounds.images_per_round
    settings = {**settings, "round": number}
    lesson = Lesson.found_in(folder) if folder.is_dir() else None
    if lesson is not None and lesson.is_taught:
        lesson.check_same(settings, folder)
        load_taught(lesson, folder, student.model)
        _log("round %d of %d is done already (%s)", number, rounds.num_rounds, folder)
        return lesson.taught(student.model, num_images)
    pool = rounds.grow(num_images)
    _log("round %d of %d: %d images", number, rounds.num_rounds, len(pool))
    return teach(make_trainer(student, pool, folder), folder, settings)


def _log(message: str, *values: object) -> None:
    if PartialState().is_main_process:
        logger.info(message, *values)


def _later(curve: Curve, num_epochs: float) -> Curve:
    return tuple((num_epochs + epoch, top1) for epoch, top1 in curve)
