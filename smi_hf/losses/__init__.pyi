from .base import LOSSES, LossInputs, register_loss, weighted_losses

__all__ = [
    "LOSSES",
    "LossInputs",
    "register_loss",
    "weighted_losses",
]
