from .cards.model import render_model_card, save_model_record
from .publish import push, push_with_space, write_publication

__all__ = [
    "push",
    "push_with_space",
    "render_model_card",
    "save_model_record",
    "write_publication",
]
