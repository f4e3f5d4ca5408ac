"""Processor time of one training step of students on kept patches (filled, where they cannot be shown these alone) and
on tiles, which costs what dense or real images cost.

    OMP_NUM_THREADS=1 python recipes/students/cost.py --teacher smi_hf/demo/teacher --dataset out/digits-smi \
        --students recipes/students/resnet

Ways take turns, and it is processor time: what else the machine does hardly changes the ratio.
"""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smi_hf import load_sparse_dataset, load_teacher
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.main import answer_errors
from smi_hf.distillation import load_student
from smi_hf.distillation.losses import kl_divergence
from smi_hf.distillation.shown import as_tiles
from smi_hf.distillation.students import Student, make_student
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.models import Teacher

_BATCH_SIZE = 32
_NUM_REPEATS = 9


@dataclass
class Arguments:
    """Who is timed, on which images."""

    teacher: str = field(metadata={"help": "Teacher: Hub id or folder."})
    dataset: str = field(metadata={"help": "Sparse dataset of the teacher."})
    students: list[str] = field(metadata={"help": "Folders of students, of which config.json is enough."})


def step(teacher: Teacher, student: Student, images: KeptImages) -> float:
    """Milliseconds of processor time of the teacher's answer, the student's, and its gradients."""
    start = time.process_time()
    patches_BKCPQ, kept_BK = teacher.model.grid.cut(images.pixels_BCHW, images.kept_BK), images.kept_BK
    teacher_BL = teacher.model.forward_patches(patches_BKCPQ, kept_BK).logits.detach()
    answer_BL = student.forward(student.model, patches_BKCPQ, kept_BK).logits
    kl_divergence(answer_BL, teacher_BL, temperature=20.0).backward()
    return 1000 * (time.process_time() - start)


def costs(teacher: Teacher, images: KeptImages, folders: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    """Folder, and median milliseconds of a step on kept patches and on tiles, of each student from scratch."""
    grid = teacher.model.grid
    ways = (images.part(0, _BATCH_SIZE), as_tiles(images, grid, seed=0).part(0, _BATCH_SIZE))
    for folder in folders:
        student = make_student(load_student(folder, teacher, from_scratch=True).model.train(), teacher)
        # The first round is slow: memory is laid out.
        rounds = [[step(teacher, student, way) for way in ways] for _ in range(1 + _NUM_REPEATS)][1:]
        yield folder, *(statistics.median(times) for times in zip(*rounds))


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints a line of Markdown for each student."""
    (given,) = ArgumentParser(Arguments, prog="cost.py", description=__doc__).parse(arguments)
    teacher = load_teacher(given.teacher)
    images = sparse_images(load_sparse_dataset(given.dataset))
    print("| student | kept or filled, ms | whole images, ms | ratio |\n|---|---|---|---|")
    for folder, kept_ms, whole_ms in costs(teacher, images, given.students):
        print(f"| {Path(folder).name} | {kept_ms:.0f} | {whole_ms:.0f} | {whole_ms / kept_ms:.1f} |")


if __name__ == "__main__":
    sys.exit(answer_errors(run))
