"""Patch seams: an image should not jump where two patches meet.

Legend: `B` images, `K` kept patches, `S` straight lines of the grid.
"""

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss


@register_loss("patch_seams", source="GradViT, arXiv 2203.11894, patch prior")
def patch_seams(inputs: LossInputs) -> Tensor:
    """Sum over the lines between rows and between columns of patches of the Euclidean norm of the jump there, (B,).

    The jump is the difference of the pixels on both sides of the line, in normalized units (GradViT, arXiv
    2203.11894, patch prior of the auxiliary regularization).
    Differs from GradViT: a piece of a line counts where both of its patches are kept, and each image has norms of its
    own (`tests/losses/test_patch_seams.py`).
    """
    patches, kept_BK, grid = inputs.patches_BKCPQ, inputs.kept_BK, inputs.grid
    columns_B = _lines(
        patches[..., :, -1],
        patches[..., :, 0],
        grid.neighbour_slots(kept_BK, 0, 1),
        line_BK=kept_BK % grid.columns,
        num_lines=grid.columns,
    )
    rows_B = _lines(
        patches[..., -1, :],
        patches[..., 0, :],
        grid.neighbour_slots(kept_BK, 1, 0),
        line_BK=kept_BK // grid.columns,
        num_lines=grid.rows,
    )
    return columns_B + rows_B


def _lines(edge_BKCP: Tensor, facing_BKCP: Tensor, neighbour_BK: Tensor, *, line_BK: Tensor, num_lines: int) -> Tensor:
    """Sum over lines of the norm of the jumps on each, (B,).

    Args:
        edge_BKCP: pixels of each patch that lie along its line.
        facing_BKCP: pixels of each patch that lie along the line before it.
        neighbour_BK: slot of the patch behind the line, -1 if there is none.
        line_BK: number of the line, less than `num_lines`.
    """
    image_B1 = torch.arange(len(neighbour_BK), device=neighbour_BK.device)[:, None]
    jump_BKCP = edge_BKCP - facing_BKCP[image_B1, neighbour_BK.clamp_min(0)]
    squares_BK = jump_BKCP.square().flatten(2).sum(dim=2) * (neighbour_BK >= 0)
    squares_BS = squares_BK.new_zeros(len(squares_BK), num_lines).scatter_add(1, line_BK, squares_BK)
    # A root has no slope at 0, where a line is smooth or crosses no kept pair; there the gradient is 0.
    roots_BS = squares_BS.clamp_min(torch.finfo(squares_BS.dtype).tiny).sqrt()
    return torch.where(squares_BS > 0, roots_BS, 0).sum(dim=1)
