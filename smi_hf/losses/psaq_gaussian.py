"""Patch-similarity entropy in closed form: that of a Gaussian that varies as the similarities do.

Legend: `B` images, `V` values.
"""

import math

from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss
from smi_hf.losses.psaq_entropy import similarities

# Keeps the entropy of equal similarities (one kept patch, a flat image) finite.
_FLOOR = 1e-6


@register_loss(
    "psaq_gaussian", needs=("head_outputs",), source="PSAQ-ViT, arXiv 2203.02250, section 3, with a Gaussian density"
)
def psaq_gaussian(inputs: LossInputs) -> Tensor:
    """Minus the entropy of Gaussians with the variances of the similarities of patches, summed over blocks, (B,).

    In nats: log(2 pi e variance) / 2. Of the same similarities as `psaq_entropy`, at a fraction of its cost, and
    every similarity has a slope, not those near one of ten points alone.
    Differs from PSAQ-ViT: a closed form in place of a kernel density (`tests/losses/test_psaq_gaussian.py`).
    """
    return -sum(_entropy(similarities(heads, inputs)) for heads in inputs.head_outputs)


def _entropy(values_BV: Tensor) -> Tensor:
    return (math.log(2 * math.pi * math.e) + (values_BV.var(dim=1, correction=0) + _FLOOR).log()) / 2
