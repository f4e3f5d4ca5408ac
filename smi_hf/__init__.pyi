from .data import SparseDataset, concatenate, load_sparse_dataset
from .distillation import SparseDistillationConfig, SparseDistillationTrainer, load_student
from .errors import RunError, UsageError
from .inversion import SparseInversionCallback, SparseInversionConfig, SparseInversionTrainer
from .models import SparseClassifier, Teacher, load_teacher

__all__ = [
    "RunError",
    "SparseClassifier",
    "SparseDataset",
    "SparseDistillationConfig",
    "SparseDistillationTrainer",
    "SparseInversionCallback",
    "SparseInversionConfig",
    "SparseInversionTrainer",
    "Teacher",
    "UsageError",
    "concatenate",
    "load_sparse_dataset",
    "load_student",
    "load_teacher",
]
