"""Answers that are computed once for fixed views of images, before the first step; processes share the work.

Legend: `n` images, `V` views, `B` images in a batch, `S` summary tokens, `D` hidden size, `L` labels.
"""

from collections.abc import Callable

import torch
from accelerate.utils import gather_object
from torch import Tensor

from smi_hf import progress
from smi_hf.distillation.batches import Answers, Views

_BATCH_SIZE = 64


def answer_views(
    views: Views,
    answer: Callable[[dict[str, Tensor]], tuple[Tensor, Tensor, Tensor | None]],
    *,
    process: int,
    num_processes: int,
    disable_tqdm: bool = False,
) -> Answers:
    """Answers to all views, whichever process computed them.

    Args:
        views: with fixed views.
        answer: from a batch to the teacher's logits (B, L), labels (B,) and summary (B, S, D) or None, on the CPU.
    """
    batches = [range(start, min(start + _BATCH_SIZE, len(views))) for start in range(0, len(views), _BATCH_SIZE)]
    numbers = range(process, len(batches), num_processes)
    total = sum(len(batches[number]) for number in numbers)
    mine = []
    with progress.bar("Teacher's answers", total=total, unit="view", disable=disable_tqdm) as bar:
        for number in numbers:
            mine.append((number, answer(views.collate(list(batches[number])))))
            bar.update(len(batches[number]))
    answers = [each for _, each in sorted(gather_object(mine), key=lambda pair: pair[0])]
    teacher, labels, summary = (
        None if column[0] is None else torch.cat(column).unflatten(0, (-1, views.num_views))
        for column in zip(*answers)
    )
    return Answers(teacher, labels[:, 0], summary)
