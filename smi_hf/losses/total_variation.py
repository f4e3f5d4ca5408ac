"""Total variation: neighbouring pixels should be alike.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss
from smi_hf.patches.grid import PatchGrid, take_slots


@register_loss("total_variation")
def total_variation(inputs: LossInputs) -> Tensor:
    """Sum of the Euclidean norms of the four first differences over kept pixels of each image, (B,).

    The differences are those of DeepInversion (arXiv 1912.08795) and SMI: right, down, and both diagonals. A pair of
    pixels counts if both patches are kept, so seams between kept neighbours are smoothed and those to pruned patches
    are not; an anti-diagonal pair that crosses a corner also wants the patch above it.
    Differs from SMI: one norm an image and kept patches alone, not one norm over whole images of the whole batch
    (`tests/losses/test_losses.py`).
    """
    grid, kept_BK = inputs.grid, inputs.kept_BK
    patches = _with_halo(inputs.patches_BKCPQ, kept_BK, grid)
    here, right, below, across = (
        patches[..., :-1, :-1],
        patches[..., :-1, 1:],
        patches[..., 1:, :-1],
        patches[..., 1:, 1:],
    )
    has_right, has_below, has_across = (
        grid.neighbour_slots(kept_BK, *offset) >= 0 for offset in ((0, 1), (1, 0), (1, 1))
    )
    every = torch.ones_like(has_right)
    # For each difference: what must be kept for pairs across the right seam, the lower seam, and the corner.
    differences = (
        (here - right, has_right, every, has_right),
        (here - below, every, has_below, has_below),
        (here - across, has_right, has_below, has_across),
        (right - below, has_right, has_below, has_right & has_below),
    )
    return sum(_norm(*difference) for difference in differences)


def _with_halo(patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid) -> Tensor:
    """Patches with the first column, row and pixel of their right, lower and diagonal neighbours: (B, K, C, P+1, Q+1).

    What stands where a neighbour is pruned has no meaning; it is finite.
    """

    def neighbour(row_offset: int, column_offset: int, edge_BKCPQ: Tensor) -> Tensor:
        return take_slots(edge_BKCPQ, grid.neighbour_slots(kept_BK, row_offset, column_offset).clamp_min(0))

    upper = torch.cat([patches_BKCPQ, neighbour(0, 1, patches_BKCPQ[..., :, :1])], dim=-1)
    lower_edges = neighbour(1, 0, patches_BKCPQ[..., :1, :]), neighbour(1, 1, patches_BKCPQ[..., :1, :1])
    return torch.cat([upper, torch.cat(lower_edges, dim=-1)], dim=-2)


def _norm(difference_BKCPQ: Tensor, at_right_BK: Tensor, below_BK: Tensor, at_corner_BK: Tensor) -> Tensor:
    """Norm of each image's differences, (B,); those of the last column, row and pixel count only where told so."""
    squares_BKPQ = difference_BKCPQ.square().sum(dim=2)
    total_B = squares_BKPQ[..., :-1, :-1].sum(dim=(1, 2, 3))
    total_B = total_B + (squares_BKPQ[..., :-1, -1].sum(dim=2) * at_right_BK).sum(dim=1)
    total_B = total_B + (squares_BKPQ[..., -1, :-1].sum(dim=2) * below_BK).sum(dim=1)
    total_B = total_B + (squares_BKPQ[..., -1, -1] * at_corner_BK).sum(dim=1)
    # The root has no slope at 0, where an image is one flat colour; there the gradient is 0.
    return torch.where(total_B > 0, total_B, 1).sqrt() * (total_B > 0)
