from .cards import render_model_card, save_model_record
from .publish import push_dataset

__all__ = [
    "push_dataset",
    "render_model_card",
    "save_model_record",
]
