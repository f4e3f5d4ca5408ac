from .reader import SparseDataset, load, validate
from .record import DatasetRecord
from .schema import SparseImages

__all__ = [
    "DatasetRecord",
    "SparseDataset",
    "SparseImages",
    "load",
    "validate",
]
