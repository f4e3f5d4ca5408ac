from .config import SparseDistillationConfig
from .loading import StudentModel, StudentOrigin, load_student
from .quantization import StudentQuantization
from .rounds import Rounds
from .run import distill
from .trainer import SparseDistillationTrainer

__all__ = [
    "Rounds",
    "SparseDistillationConfig",
    "SparseDistillationTrainer",
    "StudentModel",
    "StudentOrigin",
    "StudentQuantization",
    "distill",
    "load_student",
]
