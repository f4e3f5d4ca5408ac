"""Cross entropy: the teacher should see the target label."""

from torch import Tensor
from torch.nn import functional as F

from smi_hf.losses.base import LossInputs, register_loss


@register_loss("cross_entropy", source="Sparse Model Inversion, arXiv 2510.27186, section 2")
def cross_entropy(inputs: LossInputs) -> Tensor:
    """-log p(target) of each image, (B,), in nats (Sparse Model Inversion, section 2, equation 1)."""
    return F.cross_entropy(inputs.logits_BL.float(), inputs.targets_B, reduction="none")
