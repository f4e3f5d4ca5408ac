from .publish import push_dataset

__all__ = [
    "push_dataset",
]
