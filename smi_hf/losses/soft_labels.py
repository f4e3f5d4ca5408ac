"""Soft labels: the teacher should see the target most, and a little of everything else.

Legend: `B` images, `L` labels.
"""

from functools import lru_cache

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, full_precision, register_loss
from smi_hf.patches.randomness import image_generator

# Which use of an image's random numbers this is.
_LABELS = 0x50F7
_LOWEST, _HIGHEST = 5.0, 10.0


@register_loss("soft_labels", source="SARDFQ, arXiv 2412.16553, soft-label learning (SL)")
def soft_labels(inputs: LossInputs) -> Tensor:
    """Cross entropy of the teacher's answer with a soft label, (B,), in nats.

    The soft label is the softmax of numbers from 0 to 1, that of the target from 5 to 10, each drawn from the image's
    own stream and kept for the whole run (SARDFQ, arXiv 2412.16553, soft-label learning). It stands in for
    `cross_entropy`: give that the weight 0.
    Differs from SARDFQ: one label an image; its patches that are optimized as images of their own (multi-semantic
    reinforcement) have no counterpart here (`tests/losses/test_soft_labels.py`).
    """
    logits_BL = full_precision(inputs.logits_BL)
    scores_BL, target_scores_B1 = _draw(inputs.seed, inputs.image_indices, logits_BL.shape[1])
    device = logits_BL.device
    label_BL = scores_BL.to(device).scatter(1, inputs.targets_B[:, None], target_scores_B1.to(device)).softmax(dim=1)
    return -(label_BL.to(logits_BL.dtype) * logits_BL.log_softmax(dim=1)).sum(dim=1)


@lru_cache(maxsize=4)
def _draw(seed: int, image_indices: tuple[int, ...], num_labels: int) -> tuple[Tensor, Tensor]:
    """Scores of all labels, (B, L), and that of the target, (B, 1), float64."""
    generators = [image_generator(seed, index, _LABELS) for index in image_indices]
    draws = torch.stack(
        [torch.rand(num_labels + 1, generator=generator, dtype=torch.float64) for generator in generators]
    )
    return draws[:, 1:], _LOWEST + (_HIGHEST - _LOWEST) * draws[:, :1]
