"""`invert`: a teacher in, a sparse dataset out."""

from collections.abc import Sequence

from smi_hf.data import SparseDataset, load_sparse_dataset
from smi_hf.inversion.callbacks.base import SparseInversionCallback
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.inversion.trainer import SparseInversionTrainer
from smi_hf.models import Teacher


def invert(
    teacher: Teacher,
    config: SparseInversionConfig | None = None,
    *,
    callbacks: Sequence[SparseInversionCallback] = (),
) -> SparseDataset:
    """Makes a dataset of sparse synthetic images from a classifier, in `config.output_dir`.

    The same call continues a run that was cut off, and finds a complete one complete. Launched in several processes,
    each makes its share of the images, and all get the whole dataset.

    Args:
        teacher: what is inverted; it moves to the device of the run.
        config: the defaults if None.
        callbacks: told of each event, after the built-in ones.

    Returns:
        The dataset, read back from disk and checked; its record has the settings and what was measured.

    Raises:
        UsageError: teacher and settings do not fit each other, `output_dir` cannot be used or another run writes
            there, or the Hub refuses.
        RunError: a loss became non-finite, memory or disk ran out; what is finished stays on disk.
    """
    trainer = SparseInversionTrainer(teacher, config, callbacks=callbacks)
    trainer.train()
    return load_sparse_dataset(trainer.output_dir, teacher=trainer.teacher)
