"""Small runs for processes that tests start: functions of a module, as a process that begins anew needs."""

from typing import Any

import torch

from smi_hf import SparseInversionConfig, UsageError, invert, load_teacher

SETTINGS = {"num_images": 4, "num_steps": 2, "batch_size": 2, "prune_steps": [1], "disable_tqdm": True}


TRAJECTORIES = {"num_images": 4, "num_steps": 2, "batch_size": 1, "policy": "pri", "images_per_trajectory": 2}


def make(checkpoint: str, folder: str) -> None:
    """Inverts a checkpoint into a folder."""
    torch.set_num_threads(1)
    invert(load_teacher(checkpoint), SparseInversionConfig(output_dir=folder, **SETTINGS))


def make_trajectories(checkpoint: str, folder: str) -> None:
    """The same with two trajectories of two images."""
    torch.set_num_threads(1)
    invert(load_teacher(checkpoint), SparseInversionConfig(output_dir=folder, disable_tqdm=True, **TRAJECTORIES))


def race(checkpoint: str, folder: str, num_tries: int, barrier: Any, answers: Any) -> None:
    """Inverts into a new folder a number of times, each at the same moment as another process; tells how it went."""
    torch.set_num_threads(1)
    teacher = load_teacher(checkpoint)
    for number in range(num_tries):
        config = SparseInversionConfig(output_dir=f"{folder}/{number}", **SETTINGS)
        barrier.wait()
        try:
            answers.put((number, len(invert(teacher, config))))
        except UsageError as error:
            answers.put((number, str(error)))
