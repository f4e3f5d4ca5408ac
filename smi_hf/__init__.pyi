from .calibration import make_calibration_images
from .data import SparseDataset, concatenate, dataset_head, load_sparse_dataset
from .distillation import SparseDistillationConfig, SparseDistillationTrainer, distill, load_student, student_of_layers
from .errors import RunError, UsageError
from .evaluation.record import ModelRecord
from .evaluation.run import evaluate
from .hub import push
from .images.export import ExportConfig, export_images
from .images.real import load_image_set
from .inversion import SparseInversionCallback, SparseInversionConfig, SparseInversionTrainer, invert
from .models import SparseClassifier, Teacher, load_teacher
from .pruning import PruningConfig, prune
from .quantization import QuantizationConfig, load_predictor, quantize

__all__ = [
    "ExportConfig",
    "ModelRecord",
    "PruningConfig",
    "QuantizationConfig",
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
    "dataset_head",
    "distill",
    "evaluate",
    "export_images",
    "invert",
    "load_image_set",
    "load_predictor",
    "load_sparse_dataset",
    "load_student",
    "load_teacher",
    "make_calibration_images",
    "prune",
    "push",
    "quantize",
    "student_of_layers",
]
