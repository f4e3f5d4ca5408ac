"""Sparse forward over Hugging Face classifiers: families, CLS attention, loading. Knows `patches` and transformers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
