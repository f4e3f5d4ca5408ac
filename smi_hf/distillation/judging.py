"""The table of students: every row judged on the same images, each model with its own preprocessing."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from smi_hf.distillation.lessons import Taught
from smi_hf.evaluation.comparison import compare
from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.predictors import predictor_of, pytorch_predictor
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.table import Row, main_column
from smi_hf.images.real import ImageSet
from smi_hf.models import Teacher
from smi_hf.models.classification import is_headless

TEACHER_KEY = "teacher"
SPARSE_KEY = "sparse"
# Fewer images say little about a share.
_FEW_IMAGES = 30


def judge(
    students: Mapping[str, Sequence[Taught]],
    labels: Mapping[str, str],
    teacher: Teacher,
    image_processor: Any,
    images: ImageSet,
    *,
    sizes: Mapping[str, Mapping[str, float]] | None = None,
    disable_tqdm: bool = False,
) -> list[Row]:
    """The rows of the table: the teacher, and the students of each row, one a run.

    Args:
        students: by the key of their row.
        labels: what a reader is shown of a row, by its key.
        image_processor: the students'.
        sizes: figures of a model's size, by the key of its row.
    """
    models = {TEACHER_KEY: [predictor_of(teacher)]}
    figures = {key: dict(size) for key, size in (sizes or {}).items()}
    for key, runs in students.items():
        models[key] = [pytorch_predictor(_asked(taught.model, teacher), image_processor) for taught in runs]
        figures.setdefault(key, {})["num_images"] = runs[0].num_images
        if runs[0].seconds is not None:
            figures[key]["seconds"] = round(runs[0].seconds, 1)
    return compare(models, images, {TEACHER_KEY: "teacher", **labels}, figures=figures, disable_tqdm=disable_tqdm)


def _asked(model: PreTrainedModel, teacher: Teacher) -> nn.Module:
    """A student as it is asked: an image tower or backbone by its teacher's embedding head."""
    return teacher.model.around(model) if is_headless(model) else model


def doubts(record: ModelRecord, num_labels: int) -> list[str]:
    """What a reader of a student's figures should know: a sentence each, empty if there is nothing."""
    if record.rows and record.measured is not None:
        main = main_column(record.rows)
        share, num_images = getattr(record.rows[1].runs[0], main.key), record.measured.num_images
        # Of neighbors, chance is one in all images.
        figure, chance = ("top-1 accuracy", num_labels) if main.key == "top1" else (main.words, num_images)
    elif record.held_out is not None:
        share, num_images, figure = record.held_out.agreement, record.held_out.num_images, "agreement"
        chance = num_labels
    else:
        return []
    found = []
    if wilson_interval(share, num_images)[0] <= 1 / chance:
        found.append(
            f"the student's {figure} of {100 * share:.1f} % on {num_images} images is no better than guessing among "
            f"{chance} {'labels' if chance == num_labels else 'images'}; teach it longer, on more images, or with "
            f"another learning rate"
        )
    if num_images < _FEW_IMAGES:
        found.append(f"the student was judged on {num_images} images, which says little; judge it on more")
    return found
