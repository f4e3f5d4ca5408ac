from .loading import Teacher, load_teacher
from .sparse import SparseClassifier

__all__ = [
    "SparseClassifier",
    "Teacher",
    "load_teacher",
]
