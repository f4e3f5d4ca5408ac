"""Contrast: an image should not look to the teacher like one that is there already.

Legend: `B` images, `M` remembered images, `D` hidden size.
"""

from torch import Tensor
from torch.nn import functional as F

from smi_hf.losses.base import LossInputs, full_precision, register_loss

# The authors' command for CIFAR-10.
_TEMPERATURE = 0.2


@register_loss(
    "contrast", needs=("features_BD", "memory_MD"), source="Contrastive Model Inversion, arXiv 2105.08584, section 3"
)
def contrast(inputs: LossInputs) -> Tensor:
    """Contrastive loss of an image against the images of a memory, (B,), in nats, >= 0.

    -log of the share that the image itself has among itself and the M others: log(1 + sum_m exp((s_m - 1) / 0.2)),
    with s_m the cosine of what the teacher's answers are read from after the last block (CLS tokens). It is log(M + 1)
    if all are the same, and near 0 if the image is like none (Contrastive Model Inversion, arXiv 2105.08584, section
    3; the authors weigh it 0.8).
    Differs from CMI: the memory is a finished dataset, not the images that the run has made so far, as what an image
    becomes must not depend on which others were made before it; the features are the teacher's, not those of a head
    that learns along; and the positive is the image as it is, not a second augmentation, which would take a second
    forward pass (`tests/losses/test_contrast.py`).
    """
    own_BD = F.normalize(full_precision(inputs.features_BD), dim=1)
    others_MD = F.normalize(full_precision(inputs.memory_MD), dim=1)
    similarity_BM = own_BD @ others_MD.to(own_BD.dtype).T
    return F.pad((similarity_BM - 1) / _TEMPERATURE, (1, 0)).logsumexp(dim=1)
