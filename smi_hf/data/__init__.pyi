from .concatenation import concatenate
from .heads import dataset_head
from .reader import SparseDataset, load_sparse_dataset
from .record import DatasetRecord
from .schema import FinishedImages
from .validation import made_from, validate

__all__ = [
    "DatasetRecord",
    "FinishedImages",
    "SparseDataset",
    "concatenate",
    "dataset_head",
    "load_sparse_dataset",
    "made_from",
    "validate",
]
