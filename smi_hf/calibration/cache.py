"""Where calibration images are kept that nobody gave a place: one folder for each model and settings."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from smi_hf.models import Teacher

# Names the folder of everything that smi_hf keeps for itself.
CACHE_VARIABLE = "SMI_HF_CACHE"
_LONGEST_NAME = 60


def cache_folder() -> Path:
    """The folder that `SMI_HF_CACHE` names; unless it is set, `smi_hf` in the cache of Hugging Face (`HF_HOME`)."""
    from huggingface_hub.constants import HF_HOME

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path(HF_HOME) / "smi_hf"


def kept_folder(teacher: Teacher, settings: dict[str, Any]) -> Path:
    """The place of a teacher's calibration images: the same for the same weights, preprocessing and settings.

    Args:
        settings: all that decides what the images are (`SparseInversionConfig.image_settings`).
    """
    made_from = {
        "weights": teacher.weights_sha256(),
        "image_size": teacher.model.grid.image_size,
        "mean": teacher.normalization.mean,
        "std": teacher.normalization.std,
        "settings": settings,
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    # For people; the digest tells models of one name apart.
    name = re.sub(r"[^\w-]+", "-", teacher.name.rpartition("/")[2], flags=re.ASCII)[:_LONGEST_NAME].strip("-")
    return cache_folder() / "calibration" / f"{name or 'model'}-{digest[:12]}"
