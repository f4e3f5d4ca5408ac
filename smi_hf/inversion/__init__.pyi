from .callbacks.base import SparseInversionCallback
from .config import SparseInversionConfig
from .run import invert
from .trainer import SparseInversionTrainer
from .trajectory import NonFiniteLossError

__all__ = [
    "NonFiniteLossError",
    "SparseInversionCallback",
    "SparseInversionConfig",
    "SparseInversionTrainer",
    "invert",
]
