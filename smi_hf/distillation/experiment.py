"""Students taught on different images and compared: every row of the table in one run, judged on the same images."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from smi_hf.data import SparseDataset
from smi_hf.distillation.trainer import SparseDistillationTrainer
from smi_hf.evaluation.accuracy import Predictor, pytorch_predictor, rank_labels
from smi_hf.evaluation.table import Scores, score
from smi_hf.files import replaced_atomically
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.models import Teacher

CHART_FILE = "learning_curves.png"
TEACHER_NAME = "teacher"

# (epoch, top-1 in [0, 1]) during a training.
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what students were taught on.
        num_images: how many images that were, None for the teacher.
        runs: scores of each run's student.
        seconds: of the first run's training, None for the teacher.
        curve: of the first run.
    """

    name: str
    num_images: int | None
    runs: tuple[Scores, ...]
    seconds: float | None = None
    curve: Curve = ()


@dataclass(frozen=True)
class Taught:
    """A student after its training, and how that went."""

    model: PreTrainedModel
    num_images: int
    seconds: float
    curve: Curve


def teach(
    trainer: SparseDistillationTrainer, num_images: int, resume_from_checkpoint: str | bool | None = None
) -> Taught:
    """Trains, and reads the curve off what the trainer logged."""
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    seconds = time.perf_counter() - started
    curve = tuple((entry["epoch"], entry["eval_top1"]) for entry in trainer.state.log_history if "eval_top1" in entry)
    return Taught(trainer.model, num_images, seconds, curve)


def teach_rows(
    make_student: Callable[[int], PreTrainedModel],
    make_trainer: Callable[[PreTrainedModel, SparseDataset | KeptImages, Path], SparseDistillationTrainer],
    rows: Mapping[str, Sequence[SparseDataset | KeptImages]],
    *,
    first: Taught,
) -> dict[tuple[str, int], Taught]:
    """A new student for each set of images; nothing is kept on disk.

    Args:
        make_student: from the number of the run to its student.
        make_trainer: from student, images and an empty folder to a trainer, with the settings of the main run.
        rows: images of each row, one set a run.
        first: the first run of the first row, which is the main run and done.
    """
    students = {}
    for name, sets in rows.items():
        for run, images in enumerate(sets):
            if not students:
                students[name, run] = first
                continue
            with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
                trainer = make_trainer(make_student(run), images, Path(work))
                students[name, run] = teach(trainer, len(images))
    return students


def compare(
    students: Mapping[tuple[str, int], Taught],
    teacher: Teacher,
    images: ImageSet,
    image_processor: Any,
    *,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """Scores of teacher and students; `students` by row and number of the run."""
    models: dict[tuple[str, int], Predictor] = {(TEACHER_NAME, 0): pytorch_predictor(teacher.model)}
    models |= {key: pytorch_predictor(student.model) for key, student in students.items()}
    seen = rank_labels(images, models, image_processor, batch_size=batch_size, disable_tqdm=disable_tqdm)
    scores = score(seen, (TEACHER_NAME, 0))
    rows = [Row(TEACHER_NAME, None, (scores[TEACHER_NAME, 0],))]
    for name in dict.fromkeys(name for name, _ in students):
        first = students[name, 0]
        runs = tuple(scores[row, run] for row, run in scores if row == name)
        rows.append(Row(name, first.num_images, runs, first.seconds, first.curve))
    return rows


def save_curves(rows: Sequence[Row], folder: Path) -> list[str]:
    """Writes `learning_curves.png` if accuracy was measured during a training; returns the names of what it wrote."""
    if not any(row.curve for row in rows):
        return []
    with replaced_atomically(folder / CHART_FILE) as temporary:
        _plot(rows, temporary)
    return [CHART_FILE]


def _plot(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        if row.curve:
            epochs, top1 = zip(*row.curve)
            axes.plot(epochs, [100 * value for value in top1], marker=".", label=f"{row.name}, {row.num_images}")
        elif row.num_images is None:
            axes.axhline(100 * row.runs[0].top1, color="grey", linestyle="--", label=row.name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1, %")
    axes.legend(fontsize=8)
    figure.savefig(path, format="png", dpi=120)
