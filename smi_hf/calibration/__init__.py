"""Calibration images by themselves: where a model is to be quantized and there is no dataset, inversion makes one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
