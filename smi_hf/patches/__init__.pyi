from .augmentation import Augmentation, augment, draw_augmentations
from .grid import PatchGrid, take_slots
from .pixels import Normalization
from .policies.base import POLICIES, SelectionInputs, register_policy
from .schedule import PruneSchedule

__all__ = [
    "POLICIES",
    "Augmentation",
    "Normalization",
    "PatchGrid",
    "PruneSchedule",
    "SelectionInputs",
    "augment",
    "draw_augmentations",
    "register_policy",
    "take_slots",
]
