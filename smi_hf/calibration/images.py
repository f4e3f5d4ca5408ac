"""Images to calibrate on: those that a user names, or else images that are made of the model itself."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smi_hf.calibration.cache import kept_folder
from smi_hf.data import SparseDataset, load_sparse_dataset
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import RECORD_FILE
from smi_hf.environment import CACHE_VARIABLE
from smi_hf.errors import UsageError
from smi_hf.files import contents
from smi_hf.inversion import SparseInversionConfig, invert
from smi_hf.models import Teacher

logger = logging.getLogger(__name__)

PRESET = "calibrate"
# What a folder that does not exist yet begins with, so that it is no name on the Hub, and no misspelled one.
_PATH_BEGINS = ("./", "../", "/")


def make_calibration_images(
    teacher: Teacher,
    folder: str | Path | None = None,
    *,
    num_images: int | None = None,
    disable_tqdm: bool = False,
) -> SparseDataset:
    """Inverts a teacher with the preset `calibrate`, or finds the images where an earlier call kept them.

    A call that is cut off is continued by the next. On two CPU cores and DeiT-Tiny it takes seconds.

    Args:
        teacher: it runs on the accelerator, and is back on its device when the call returns.
        folder: where to keep them; None for the cache, in a folder of their own for each model and settings
            (`SMI_HF_CACHE` moves it, which else lies in the cache of Hugging Face).
        num_images: how many; None for as many as the preset makes (32).

    Returns:
        A dataset like any other, checked, with its record.

    Raises:
        UsageError: the folder holds something else or cannot be written, or another run is writing there.
        RunError: as of `invert`.
    """
    options: dict[str, Any] = {} if num_images is None else {"num_images": num_images}
    if not teacher.model.is_sparse:
        options["policy"] = "dense"
    # Whatever accelerate was told: images that are kept must be the same.
    config = SparseInversionConfig.from_preset(
        # Nobody looks into the cache.
        PRESET,
        mixed_precision="no",
        disable_tqdm=disable_tqdm,
        report=folder is not None,
        **options,
    )
    place = kept_folder(teacher, config.image_settings()) if folder is None else Path(folder)
    config.output_dir = str(place)
    logger.info(
        "calibration images: %d of %s, inverted in %d steps (preset %s), kept in %s%s",
        config.num_images,
        teacher.name,
        config.num_steps,
        PRESET,
        place,
        f" ({CACHE_VARIABLE} moves it)" if folder is None else "",
    )
    device = next(teacher.model.parameters()).device
    dataset = invert(teacher, config)
    teacher.model.to(device).freeze()
    return dataset


def calibration_datasets(
    teacher: Teacher, names: Sequence[str] = (), *, num_images: int | None = None, disable_tqdm: bool = False
) -> list[SparseDataset]:
    """The sparse datasets of some names; where there is none, images that are made now.

    Args:
        names: folders or datasets on the Hub. None at all: `make_calibration_images` in its cache. A single path
            that begins with `./`, `../` or `/` and holds nothing yet, or a run that was cut off: images made there.
        num_images: that will be needed; more than the preset's are made if need be.

    Raises:
        UsageError: as of `load_sparse_dataset` and `make_calibration_images`.
    """
    needed = None if num_images is None else max(num_images, SparseInversionConfig.from_preset(PRESET).num_images)
    if not names:
        return [make_calibration_images(teacher, num_images=needed, disable_tqdm=disable_tqdm)]
    if len(names) == 1 and _is_to_be_made(names[0]):
        return [make_calibration_images(teacher, names[0], num_images=needed, disable_tqdm=disable_tqdm)]
    return [_load(name, teacher) for name in names]


def _is_to_be_made(name: str) -> bool:
    folder = Path(name)
    if not name.startswith(_PATH_BEGINS) or (os.path.lexists(folder) and not folder.is_dir()):
        return False
    if not contents(folder):
        return True
    return (folder / RECORD_FILE).is_file() and DatasetRecord.load(folder).status != "complete"


def _load(name: str, teacher: Teacher) -> SparseDataset:
    try:
        return load_sparse_dataset(name, teacher=teacher)
    except UsageError as error:
        if os.path.lexists(name) or name.startswith(_PATH_BEGINS) or not name.strip():
            raise
        raise UsageError(
            f"{error}. To have images made there, write ./{name}; without a dataset, they are made and kept for you"
        ) from error
