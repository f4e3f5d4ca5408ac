"""Which preset fits a student: its head alone learns, it is a pruned teacher, another checkpoint, or knows nothing."""

import logging

from transformers import PreTrainedModel

from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.loading import StudentOrigin
from smi_hf.distillation.presets import AUTO, DEFAULTS, FINETUNE, HEAD, RECOVER, SCRATCH
from smi_hf.distillation.students import sees_patches
from smi_hf.models import SparseClassifier, Teacher
from smi_hf.models.lookup import find_family

logger = logging.getLogger(__name__)


def with_preset(
    config: SparseDistillationConfig, model: PreTrainedModel, origin: StudentOrigin, teacher: Teacher, num_images: int
) -> SparseDistillationConfig:
    """The settings with everything filled in that was left open; as they are if nothing was.

    Args:
        model, origin: the student, and where it comes from.
        num_images: that teach, held-out ones among them.
    """
    if not config.is_open:
        return config
    compares_layers = not config.freeze_backbone and has_its_layers(model, teacher)
    preset = config.preset
    if preset == AUTO:
        preset = _preset_for(config, origin, compares_layers=compares_layers)
    filled = config.filled_in(preset, num_images, compares_layers=compares_layers)
    if config.process_index == 0:
        settings = ", ".join(f"{name} {_plain(getattr(filled, name))}" for name in DEFAULTS)
        logger.info("preset %s, for %d images: %s", preset, num_images, settings)
    return filled


def has_its_layers(model: PreTrainedModel, teacher: Teacher) -> bool:
    """Whether a student is of its teacher's family, shown the same patches, and as wide between its layers."""
    if not isinstance(teacher.model, SparseClassifier) or not sees_patches(model, teacher.model.grid):
        return False
    if model.config.model_type != teacher.model.config.model_type:
        return False
    ours, theirs = find_family(model).shape(model), teacher.model.shape
    return ours.hidden_size == theirs.hidden_size and ours.num_layers <= theirs.num_layers


def _preset_for(config: SparseDistillationConfig, origin: StudentOrigin, *, compares_layers: bool) -> str:
    if config.freeze_backbone:
        return HEAD
    if origin.from_scratch:
        return SCRATCH
    return RECOVER if compares_layers and not origin.has_new_head else FINETUNE


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
