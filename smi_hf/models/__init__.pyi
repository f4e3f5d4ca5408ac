from .references import CheckpointReference, License
from .sparse import SparseClassifier
from .teacher import Teacher, load_teacher

__all__ = [
    "CheckpointReference",
    "License",
    "SparseClassifier",
    "Teacher",
    "load_teacher",
]
