from .cards.model import render_model_card, save_model_record
from .publish import push, push_dataset

__all__ = [
    "push",
    "push_dataset",
    "render_model_card",
    "save_model_record",
]
