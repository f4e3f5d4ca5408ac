"""Quantization-aware training without data: what `smi_hf.distill` rounds a student with while it learns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
