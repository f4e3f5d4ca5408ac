from .base import (
    LOSSES,
    ChannelStatistics,
    LossInputs,
    LossTerm,
    describe_terms,
    needs_of,
    register_loss,
    weighted_losses,
)

__all__ = [
    "LOSSES",
    "ChannelStatistics",
    "LossInputs",
    "LossTerm",
    "describe_terms",
    "needs_of",
    "register_loss",
    "weighted_losses",
]
