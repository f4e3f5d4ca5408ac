"""The accelerator of a run, with accelerate's traps on the CPU answered."""

import logging
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from smi_hf.errors import UsageError
from smi_hf.registry import suggest

logger = logging.getLogger(__name__)


def make_accelerator(report_to: list[str], logging_dir: Path) -> Accelerator:
    """The accelerator for this process as it was launched.

    Without a GPU, accelerate takes the processes of `torchrun` or of `accelerate launch` with a multi-process
    configuration for strangers unless it is told that they are to use the CPU; so it is told.

    Args:
        report_to: trackers, or `["none"]`.
        logging_dir: where trackers write.

    Raises:
        UsageError: there is no such tracker, or its package is not installed.
    """
    _check_trackers(report_to)
    accelerator = Accelerator(
        cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        log_with=None if report_to == ["none"] else report_to,
        project_dir=str(logging_dir),
    )
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ and accelerator.num_processes == 1:
        # accelerate sets MASTER_ADDR for several processes, but `launch --cpu` starts one unless it is given mpirun.
        logger.warning(
            "accelerate launch --cpu starts one process whatever --num_processes says; for several, launch with "
            "--config_file recipes/accelerate/multi_cpu.yaml"
        )
    return accelerator


def _check_trackers(names: list[str]) -> None:
    # Registered with accelerate, by it or by others; of its own, some have packages that are not here.
    known = sorted(set(map(str, LOGGER_TYPE_TO_CLASS)))
    installed = sorted(set(map(str, get_available_trackers())) | (set(known) - set(LoggerType.list())))
    for name in names:
        if name in ("none", "all"):
            continue
        if name not in known:
            raise UsageError(
                f"report_to has an unknown tracker {name!r}{suggest(name, known)}; accelerate has {', '.join(known)}, "
                f"and takes 'all' and 'none'"
            )
        if name not in installed:
            raise UsageError(f"report_to names {name}, but its package is not installed: pip install {name}")
