"""L2: pixels should stay near the mean color."""

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss


@register_loss("l2", source="DeepInversion, arXiv 1912.08795, section 3.1")
def l2(inputs: LossInputs) -> Tensor:
    """Euclidean norm of the kept pixels of each image, (B,), in normalized units (DeepInversion, arXiv 1912.08795)."""
    return torch.linalg.vector_norm(inputs.patches_BKCPQ.flatten(1), dim=1)
