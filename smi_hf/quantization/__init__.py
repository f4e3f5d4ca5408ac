"""Quantization calibrated on the kept patches of synthetic images: the verb `quantize`, and `backends/`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
