"""Patch-similarity entropy: patches of a picture are alike and unlike in many ways, those of noise in one.

Legend: `B` images, `K` kept patches, `D` size of a head, `V` values, `S` points.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from smi_hf.losses.base import LossInputs, full_precision, register_loss

# The authors' code: the kernel's standard deviation, the points of the integral, what is added to a density.
_BANDWIDTH, _NUM_POINTS, _FLOOR = 0.01, 10, 1e-4


@register_loss("psaq_entropy", needs=("head_outputs",), source="PSAQ-ViT, arXiv 2203.02250, section 3")
def psaq_entropy(inputs: LossInputs) -> Tensor:
    """Minus the differential entropy of the similarities of patches, summed over blocks, (B,), in nats.

    Similarities are cosines of what the heads of a block read at two patches, mean over heads; their density is
    estimated with Gaussian kernels at ten points from the smallest to the largest and integrated with trapezoids
    (PSAQ-ViT, arXiv 2203.02250, section 3, and the authors' code, which takes the heads before they are mixed).
    Differs from PSAQ-ViT: kept patches alone, all prefix tokens left out, and the points lie between the smallest and
    the largest similarity of an image, not of its batch (`tests/losses/test_psaq_entropy.py`).

    The authors' schedule, from their code: Adam with learning rate 0.2 (0.25 for Swin) and betas (0.5, 0.9); two
    rounds of 500 steps, in each a rise over 100 steps and then a cosine to 0; rolls of up to 15 px in the first and
    30 px in the second round (of 224), flips. Weights: this term 1, cross entropy 1, and 0.05 on the distance of the
    total variation of a batch of 32 from a number drawn from 2500 to 3000.
    """
    return -sum(_entropy(similarities(heads, inputs)) for heads in inputs.head_outputs)


def similarities(heads_BTHD: Tensor, inputs: LossInputs) -> Tensor:
    """Cosine of each kept patch of an image with each, (B, K * K), of what heads read, mean over heads."""
    num_kept = inputs.kept_BK.shape[1]
    patches_BKD = F.normalize(full_precision(heads_BTHD)[:, -num_kept:].mean(dim=2), dim=2)
    return (patches_BKD @ patches_BKD.transpose(1, 2)).flatten(1)


def _entropy(values_BV: Tensor) -> Tensor:
    low_B, high_B = values_BV.detach().aminmax(dim=1)
    steps_S = torch.linspace(0, 1, _NUM_POINTS, dtype=values_BV.dtype, device=values_BV.device)
    return _KernelEntropy.apply(values_BV, torch.lerp(low_B[:, None], high_B[:, None], steps_S))


class _KernelEntropy(torch.autograd.Function):
    """Entropy of a kernel density, integrated over given points: (B, V) values and (B, S) points to (B,).

    The gradient is made with the value, one point at a time: all at once needs S times the memory of the values. That
    of the points is left out.
    """

    @staticmethod
    def forward(ctx: Any, values_BV: Tensor, points_BS: Tensor) -> Tensor:
        entropy_B = values_BV.new_zeros(len(values_BV))
        gradient_BV = torch.zeros_like(values_BV)
        for point in range(points_BS.shape[1]):
            width_B = _trapezoid_width(points_BS, point)
            away_BV = (points_BS[:, point, None] - values_BV) / _BANDWIDTH
            kernel_BV = (away_BV.square() / -2).exp_() / (_BANDWIDTH * math.sqrt(2 * math.pi))
            density_B = kernel_BV.mean(dim=1) + _FLOOR
            entropy_B -= width_B * density_B * density_B.log()
            slope_B = -width_B * (density_B.log() + 1) / (_BANDWIDTH * values_BV.shape[1])
            gradient_BV += kernel_BV.mul_(away_BV).mul_(slope_B[:, None])
        ctx.save_for_backward(gradient_BV)
        return entropy_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_B: Tensor) -> tuple[Tensor, None]:
        (gradient_BV,) = ctx.saved_tensors
        return gradient_BV * slope_B[:, None], None


def _trapezoid_width(points_BS: Tensor, point: int) -> Tensor:
    """What the value at a point weighs in the integral: half the way to the points beside it, (B,)."""
    last = points_BS.shape[1] - 1
    return (points_BS[:, min(point + 1, last)] - points_BS[:, max(point - 1, 0)]) / 2
