from .cards.model import render_model_card, save_model_record
from .publish import push

__all__ = [
    "push",
    "render_model_card",
    "save_model_record",
]
