"""smi_hf: data-free compression of Vision Transformers by sparse model inversion.

`import smi_hf` loads nothing heavy; each public name is imported when it is first used.
"""

import logging

import lazy_loader

# transformers imports torchao where it is installed, and that remarks on kernels for other machines each time.
logging.getLogger("torchao").setLevel(logging.ERROR)
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
