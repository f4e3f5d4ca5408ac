from .data import SparseDataset, load
from .errors import RunError, UsageError
from .inversion import SparseInversionCallback, SparseInversionConfig, SparseInversionTrainer
from .models import SparseClassifier, Teacher, load_teacher

__all__ = [
    "RunError",
    "SparseClassifier",
    "SparseDataset",
    "SparseInversionCallback",
    "SparseInversionConfig",
    "SparseInversionTrainer",
    "Teacher",
    "UsageError",
    "load",
    "load_teacher",
]
