from .concatenation import concatenate
from .reader import SparseDataset, load
from .record import DatasetRecord
from .sampling import SameCountSampler
from .schema import SparseImages
from .validation import validate

__all__ = [
    "DatasetRecord",
    "SameCountSampler",
    "SparseDataset",
    "SparseImages",
    "concatenate",
    "load",
    "validate",
]
