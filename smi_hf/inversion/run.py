"""One run as its callbacks see it."""

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from smi_hf.data.record import DatasetRecord
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.models import Teacher


@dataclass(frozen=True)
class InversionRun:
    """What is known of a run when its first step is about to be taken.

    Args:
        args: the settings.
        teacher: what is inverted, on the accelerator's device.
        accelerator: device, processes and trackers.
        record: what will be written beside the images.
        output_dir: the dataset folder.
        num_own_images: how many images this process is to make.
    """

    args: SparseInversionConfig
    teacher: Teacher
    accelerator: Accelerator
    record: DatasetRecord
    output_dir: Path
    num_own_images: int
