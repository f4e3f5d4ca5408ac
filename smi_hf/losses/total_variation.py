"""Total variation: neighbouring pixels should be alike.

Legend: `B` images.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss
from smi_hf.patches.pairs import penalize_differences


@register_loss("total_variation", source="DeepInversion, arXiv 1912.08795, section 3.1, as in Sparse Model Inversion")
def total_variation(inputs: LossInputs) -> Tensor:
    """Sum of the Euclidean norms of the four first differences over kept pixels of each image, (B,).

    The differences are those of DeepInversion (arXiv 1912.08795) and SMI: right, down, and both diagonals. A pair of
    pixels counts if both patches are kept, so seams between kept neighbours are smoothed and those to pruned patches
    are not; an anti-diagonal pair that crosses a corner also wants the patch above it.
    Differs from SMI: one norm an image and kept patches alone, not one norm over whole images of the whole batch
    (`tests/losses/test_total_variation.py`).
    """
    return penalize_differences(inputs.patches_BKCPQ, inputs.kept_BK, inputs.grid, _euclidean)


def _euclidean(difference: Tensor, count: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """The norm of all differences of an image, and its slope; written over the differences."""
    norm_B = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    # A norm has no slope at 0, where an image is one flat color; there the gradient is 0.
    difference /= norm_B.clamp_min(torch.finfo(norm_B.dtype).tiny)[:, None, None, None, None]
    return norm_B, difference
