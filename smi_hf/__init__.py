"""smi_hf: data-free compression of Vision Transformers by sparse model inversion.

`import smi_hf` loads nothing heavy; each public name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
