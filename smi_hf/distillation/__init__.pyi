from .config import SparseDistillationConfig
from .loading import StudentModel, StudentOrigin, load_student
from .own_layers import student_of_layers
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
    "student_of_layers",
]
