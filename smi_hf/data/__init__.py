"""Sparse datasets on disk: schema, record, writer, reader, validation. What the engines share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
