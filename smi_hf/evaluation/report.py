"""The figures of one `evaluate` as a JSON file."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.evaluation.run import Evaluation
from smi_hf.files import replaced_atomically
from smi_hf.images.real import ImageSet

_KEYS = frozenset({"model", "images", "matched_by", "top1", "interval", "num_images", "latency_ms", "backend"})
_MAX_BYTES = 1 << 16


def save_report(path: Path, evaluation: Evaluation, images: ImageSet, *, model: str) -> None:
    """Writes the figures, with what they are of.

    Args:
        path: as `check_report_file` passed it.
        model: its name, never a path of this machine.
    """
    report = {"model": model, "images": asdict(images.reference()), "matched_by": images.matched_by}
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(report | asdict(evaluation), indent=2) + "\n", encoding="utf-8")


def check_report_file(path: Path) -> None:
    """Checks, before the work, that a report can be written there.

    Raises:
        UsageError: its folder is not there or cannot be written to, or the file is there and is no report.
    """
    if os.path.lexists(path) and not _is_report(path):
        raise UsageError(f"{path} exists and is not a report of smi-hf evaluate; give another name for the report")
    if not os.path.isdir(path.parent):
        raise UsageError(f"the report {path} cannot be written: there is no folder {path.parent}; make it first")
    trial = path.with_name(f".{path.name}.{os.getpid()}.try")
    try:
        # Tried, as permissions say little of read-only disks, names that are too long, and the rest.
        trial.touch(exist_ok=False)
        trial.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"the report {path} cannot be written: {reason}; give another name for it") from error


def _is_report(path: Path) -> bool:
    """Whether a file holds what `save_report` writes."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return False
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.keys() >= _KEYS
