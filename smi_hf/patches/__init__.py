"""Patch geometry: the grid, sparse augmentation, the prune schedule and the selection policies. Knows only torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
