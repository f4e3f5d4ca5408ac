from .student import QuantizationAwareTraining
from .training import freeze_and_save, quantize_for_training

__all__ = [
    "QuantizationAwareTraining",
    "freeze_and_save",
    "quantize_for_training",
]
