from .classifier import Classifier, load_classifier
from .dense import DenseClassifier
from .embeddings import EmbeddingHead
from .references import CheckpointReference, License
from .sparse import SparseClassifier
from .teacher import Teacher, load_teacher, wrap
from .vision import VisionClassifier

__all__ = [
    "CheckpointReference",
    "Classifier",
    "DenseClassifier",
    "EmbeddingHead",
    "License",
    "SparseClassifier",
    "Teacher",
    "VisionClassifier",
    "load_classifier",
    "load_teacher",
    "wrap",
]
