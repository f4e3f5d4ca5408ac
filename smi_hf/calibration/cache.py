"""Where calibration images are kept that nobody gave a place: one folder for each model and settings."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from smi_hf.environment import cache_folder
from smi_hf.models import Teacher

_LONGEST_NAME = 60


def kept_folder(teacher: Teacher, settings: dict[str, Any]) -> Path:
    """The place of a teacher's calibration images: the same for the same weights, preprocessing and settings.

    Args:
        settings: all that decides what the images are (`SparseInversionConfig.image_settings`).
    """
    made_from = {
        "weights": teacher.weights_sha256(),
        "head": None if teacher.head is None else teacher.head.sha256(),
        "image_size": teacher.model.grid.image_size,
        "mean": teacher.normalization.mean,
        "std": teacher.normalization.std,
        "is_bgr": teacher.normalization.is_bgr,
        "settings": settings,
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    # For people; the digest tells models of one name apart.
    name = re.sub(r"[^\w-]+", "-", teacher.name.rpartition("/")[2], flags=re.ASCII)[:_LONGEST_NAME].strip("-")
    return cache_folder() / "calibration" / f"{name or 'model'}-{digest[:12]}"
