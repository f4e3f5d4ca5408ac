"""Attention priors: the CLS token should look at a few smooth places, as it does in photographs.

Legend: `B` images, `K` kept patches, `N` patches of the grid, `T` tokens, `H` heads, `A` blocks.
"""

from functools import lru_cache

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, full_precision, register_loss
from smi_hf.patches.grid import PatchGrid, take_slots
from smi_hf.patches.randomness import image_generator

# Which use of an image's random numbers this is.
_PRIORS = 0xA77E
_MAX_SPOTS = 5
# Standard deviation of a spot, as a fraction of the side of the grid.
_SMALLEST, _LARGEST = 1 / 14, 1 / 4


@register_loss(
    "attention_prior",
    needs=("attentions",),
    source="SARDFQ, arXiv 2412.16553, attention priors alignment (APA)",
    reads_cls=True,
)
def attention_prior(inputs: LossInputs) -> Tensor:
    """Squared distance of the CLS token's attention to patches from priors, mean over heads and later blocks, (B,).

    Each head of each block in the second half has a prior of its own: a mixture of one to five Gaussian spots on the
    grid, drawn from the image's own stream, and scaled to the attention that falls on patches (SARDFQ, arXiv
    2412.16553, attention priors alignment). An image keeps its priors for the whole run; they move with its pixels
    when it is rolled and flipped.
    Differs from SARDFQ: over kept patches alone; the sizes of the spots (1/14 to 1/4 of the side) and their equal
    weights are ours (`tests/losses/test_attention_prior.py`).
    """
    blocks = inputs.attentions[len(inputs.attentions) // 2 :]
    num_heads, num_kept = blocks[0].shape[1], inputs.kept_BK.shape[1]
    priors_BNAH = draw_priors(inputs.seed, inputs.image_indices, inputs.grid, len(blocks), num_heads)
    priors_BKAH = take_slots(priors_BNAH.to(inputs.kept_BK.device), inputs.kept_BK)
    priors_BKAH = priors_BKAH / priors_BKAH.sum(dim=1, keepdim=True)
    total_B = 0
    for block, attention in enumerate(blocks):
        found_BHK = full_precision(attention[:, :, 0, -num_kept:])
        prior_BHK = priors_BKAH[:, :, block].transpose(1, 2).to(found_BHK.dtype)
        distance_BHK = found_BHK - prior_BHK * found_BHK.sum(dim=2, keepdim=True)
        total_B = total_B + distance_BHK.square().sum(dim=2).mean(dim=1)
    return total_B / len(blocks)


@lru_cache(maxsize=4)
def draw_priors(seed: int, image_indices: tuple[int, ...], grid: PatchGrid, num_blocks: int, num_heads: int) -> Tensor:
    """Positive maps over the grid for each head of each block, (B, N, A, H), float64, from each image's own stream."""
    return torch.stack([_draw(seed, index, grid, num_blocks * num_heads) for index in image_indices]).unflatten(
        2, (num_blocks, num_heads)
    )


def _draw(seed: int, image_index: int, grid: PatchGrid, num_maps: int) -> Tensor:
    """Mixtures of Gaussian spots at the centers of patches, (N, maps)."""
    draws = torch.rand(
        num_maps, 4 * _MAX_SPOTS + 1, generator=image_generator(seed, image_index, _PRIORS), dtype=torch.float64
    )
    row, column, height, width = draws[:, 1:].unflatten(1, (4, _MAX_SPOTS)).unbind(dim=1)  # each (maps, spots)
    is_there = torch.arange(_MAX_SPOTS) < (draws[:, :1] * _MAX_SPOTS).floor() + 1
    patches_N = torch.arange(grid.num_patches)
    exponent = torch.zeros(grid.num_patches, num_maps, _MAX_SPOTS, dtype=torch.float64)
    for at_N, side, center, size in (
        (patches_N // grid.columns, grid.rows, row, height),
        (patches_N % grid.columns, grid.columns, column, width),
    ):
        deviation = side * (_SMALLEST + (_LARGEST - _SMALLEST) * size)
        exponent -= ((at_N[:, None, None] + 0.5 - side * center) / deviation).square() / 2
    # Far from every spot, a little is left: kept patches may lie there alone.
    return (exponent.exp() * is_there).sum(dim=2) + 1e-6
