from .config import QuantizationConfig
from .loading import load_predictor
from .quantizer import Quantizer
from .run import quantize

__all__ = [
    "QuantizationConfig",
    "Quantizer",
    "load_predictor",
    "quantize",
]
