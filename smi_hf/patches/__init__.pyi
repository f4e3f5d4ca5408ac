from .augmentation import Augmentation, augment, draw_augmentations
from .grid import PatchGrid, take_slots
from .pixels import Normalization
from .policies.base import POLICIES, Selection, SelectionInputs, register_policy
from .schedule import PruneSchedule
from .shares import ShareSchedule

__all__ = [
    "POLICIES",
    "Augmentation",
    "Normalization",
    "PatchGrid",
    "PruneSchedule",
    "Selection",
    "SelectionInputs",
    "ShareSchedule",
    "augment",
    "draw_augmentations",
    "register_policy",
    "take_slots",
]
