"""Pairs of neighbouring pixels of which both are kept, and penalties on their differences, with gradients.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smi_hf.patches.grid import PatchGrid, take_slots

_RIGHT, _BELOW, _ACROSS = (0, 1), (1, 0), (1, 1)

# From the differences in one direction, (B, K, C, P, Q), which it may write over, 0 where there is no pair, and a
# function that gives the number of pairs of values in each image, (B,), to the penalty of each image, (B,), and its
# gradient, (B, K, C, P, Q).
Penalty = Callable[[Tensor, Callable[[], Tensor]], tuple[Tensor, Tensor]]


def penalize_differences(patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid, penalty: Penalty) -> Tensor:
    """The sum of a penalty over the four first differences of kept pixels: right, down and both diagonals, (B,).

    A pair of pixels counts if both patches are kept; an anti-diagonal pair that crosses a corner also wants the patch
    above it, which carries it. Differentiable once, in the patches.
    """
    return _Differences.apply(patches_BKCPQ, kept_BK, grid, penalty)


class _Differences(torch.autograd.Function):
    """The gradient is made with the value: what each difference adds to it, once added and once subtracted.

    Autograd keeps every intermediate and pads every slice; that took three times as long.
    """

    @staticmethod
    def forward(ctx: Any, patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid, penalty: Penalty) -> Tensor:
        P, Q = patches_BKCPQ.shape[-2:]
        here, right = (..., slice(0, P), slice(0, Q)), (..., slice(0, P), slice(1, Q + 1))
        below, across = (..., slice(1, P + 1), slice(0, Q)), (..., slice(1, P + 1), slice(1, Q + 1))
        has_right, has_below, has_across = (
            grid.neighbour_slots(kept_BK, *offset) >= 0 for offset in (_RIGHT, _BELOW, _ACROSS)
        )
        every = torch.ones_like(has_right)

        halo = _with_halo(patches_BKCPQ, kept_BK, grid)
        gradient = torch.zeros_like(halo)
        total_B = patches_BKCPQ.new_zeros(len(patches_BKCPQ))
        # What must be kept for a pair across the right seam, across the lower seam, and across the corner.
        for first, second, at_right, at_below, at_corner in (
            (here, right, has_right, every, has_right),
            (here, below, every, has_below, has_below),
            (here, across, has_right, has_below, has_across),
            (right, below, has_right, has_below, has_right & has_below),
        ):
            difference = halo[first] - halo[second]
            difference[..., :-1, -1] *= at_right[..., None, None]
            difference[..., -1, :-1] *= at_below[..., None, None]
            difference[..., -1, -1] *= at_corner[..., None]
            count = partial(_num_pairs, at_right, at_below, at_corner, patches_BKCPQ.shape)
            penalty_B, slope = penalty(difference, count)
            total_B += penalty_B
            gradient[first] += slope
            gradient[second] -= slope
        ctx.save_for_backward(_without_halo(gradient, kept_BK, grid))
        return total_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_B: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BKCPQ,) = ctx.saved_tensors
        return gradient_BKCPQ * slope_B[:, None, None, None, None], None, None, None


def _num_pairs(at_right: Tensor, at_below: Tensor, at_corner: Tensor, shape: torch.Size) -> Tensor:
    """Pairs of values in one direction, (B,), from what is kept at the seams and the corner of each patch, (B, K)."""
    _, K, C, P, Q = shape
    seams_B = (P - 1) * at_right.sum(dim=1) + (Q - 1) * at_below.sum(dim=1) + at_corner.sum(dim=1)
    return C * (K * (P - 1) * (Q - 1) + seams_B)


def _with_halo(patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid) -> Tensor:
    """Patches with the first column, row and pixel of their right, lower and diagonal neighbours: (B, K, C, P+1, Q+1).

    What stands where a neighbour is pruned has no meaning; it is finite.
    """

    def neighbour(offset: tuple[int, int], edge_BKCPQ: Tensor) -> Tensor:
        return take_slots(edge_BKCPQ, grid.neighbour_slots(kept_BK, *offset).clamp_min(0))

    upper = torch.cat([patches_BKCPQ, neighbour(_RIGHT, patches_BKCPQ[..., :, :1])], dim=-1)
    lower_edges = neighbour(_BELOW, patches_BKCPQ[..., :1, :]), neighbour(_ACROSS, patches_BKCPQ[..., :1, :1])
    return torch.cat([upper, torch.cat(lower_edges, dim=-1)], dim=-2)


def _without_halo(halo: Tensor, kept_BK: Tensor, grid: PatchGrid) -> Tensor:
    """The transpose of `_with_halo`: what was added up in halos goes back to the patches that they were taken from."""

    def from_owner(offset: tuple[int, int], edge: Tensor) -> Tensor:
        """Of the patch whose neighbour at that offset this one is."""
        owner_BK = grid.neighbour_slots(kept_BK, -offset[0], -offset[1])
        return take_slots(edge, owner_BK.clamp_min(0)) * (owner_BK >= 0)[:, :, None, None, None]

    patches_BKCPQ = halo[..., :-1, :-1].contiguous()
    patches_BKCPQ[..., :, :1] += from_owner(_RIGHT, halo[..., :-1, -1:])
    patches_BKCPQ[..., :1, :] += from_owner(_BELOW, halo[..., -1:, :-1])
    patches_BKCPQ[..., :1, :1] += from_owner(_ACROSS, halo[..., -1:, -1:])
    return patches_BKCPQ
