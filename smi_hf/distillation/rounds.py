"""Inverting and distilling in turn, as the paper does: the pool of images grows while the student learns.

Source: Sparse Model Inversion (arXiv 2510.27186), section on knowledge transfer.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel
from transformers.trainer_utils import get_last_checkpoint

from smi_hf.data import SparseDataset
from smi_hf.distillation.experiment import Curve, Taught, teach
from smi_hf.distillation.trainer import SparseDistillationTrainer

logger = logging.getLogger(__name__)

_DONE_FILE = "config.json"


def teach_in_rounds(
    student: PreTrainedModel,
    grow_pool: Callable[[int], SparseDataset],
    make_trainer: Callable[[PreTrainedModel, SparseDataset, Path], SparseDistillationTrainer],
    *,
    num_rounds: int,
    images_per_round: int,
    output_dir: Path,
) -> Taught:
    """Grows the pool, trains on all of it, and so on. A run that is cut off continues, between rounds and inside one.

    Args:
        student: at the start; of a round that is done the saved student is loaded into it.
        grow_pool: from a number of images to the pool of that size; the images before stay as they are.
        make_trainer: from student, pool and folder to a trainer.
        output_dir: holds a folder a round.
    """
    started = time.perf_counter()
    curve: Curve = ()
    num_epochs = 0.0
    for number in range(1, num_rounds + 1):
        folder = output_dir / f"round-{number}"
        if (folder / _DONE_FILE).is_file():
            logger.info("round %d of %d is done already (%s)", number, num_rounds, folder)
            student = type(student).from_pretrained(folder)
            continue
        pool = grow_pool(number * images_per_round)
        logger.info("round %d of %d: %d images", number, num_rounds, len(pool))
        trainer = make_trainer(student, pool, folder)
        taught = teach(trainer, len(pool), get_last_checkpoint(str(folder)) if folder.is_dir() else None)
        trainer.save_model()
        student = taught.model
        curve += tuple((num_epochs + epoch, top1) for epoch, top1 in taught.curve)
        num_epochs += trainer.args.num_train_epochs
    return Taught(student, num_rounds * images_per_round, time.perf_counter() - started, curve)
