"""Terms of the inversion loss, one file each.

To add one: write a file here, named after the term, with a function from `LossInputs` to one value an image that is
decorated with `@register_loss("name")`. `--loss_weights name=0.1` then switches it on. A term that looks at more than
the basics says so: `needs=("attentions",)` (`smi_hf.losses.base.NEEDS`); and where it is from: `source="..."`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
