from .concatenation import concatenate
from .reader import SparseDataset, load_sparse_dataset
from .record import DatasetRecord
from .schema import FinishedImages
from .validation import validate

__all__ = [
    "DatasetRecord",
    "FinishedImages",
    "SparseDataset",
    "concatenate",
    "load_sparse_dataset",
    "validate",
]
