from .config import SparseDistillationConfig
from .students import load_student
from .trainer import SparseDistillationTrainer

__all__ = [
    "SparseDistillationConfig",
    "SparseDistillationTrainer",
    "load_student",
]
