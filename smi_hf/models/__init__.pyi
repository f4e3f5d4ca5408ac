from .classifier import Classifier, load_classifier
from .references import CheckpointReference, License
from .sparse import SparseClassifier
from .teacher import Teacher, load_teacher

__all__ = [
    "CheckpointReference",
    "Classifier",
    "License",
    "SparseClassifier",
    "Teacher",
    "load_classifier",
    "load_teacher",
]
