"""Pixels move as by themselves, and after each step the image is blended with its low-passed self.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels, `E` taps of the
kernel at one side of its middle.
"""

import math

import torch
from torch import Tensor

from smi_hf.inversion.adam import Adam
from smi_hf.inversion.moves.base import MoveInputs, MoveOption, MoveSettings, register_move
from smi_hf.patches import PatchGrid, take_slots


@register_move("low_pass", strength=MoveOption(0.1, 0, 1), width=MoveOption(0.7, 0.1, 4))
class LowPass:
    """Adam over the kept pixels, then (1 - strength) of the image and `strength` of its blur, at every step.

    The blur is a Gaussian of standard deviation `width`, in pixels. It draws detail out of the image that the gradient
    does not put back: at the highest frequency a share of nearly `strength` a step, at low ones nearly nothing.
    Source: Yosinski et al., Understanding Neural Networks Through Deep Visualization (arXiv 1506.06579), section 3.
    Differs from Yosinski et al.: a little at every step, instead of the blurred image itself every few steps.
    """

    def __init__(self, settings: MoveSettings) -> None:
        self.settings = settings
        self.adam = Adam(settings.betas)

    def update(self, inputs: MoveInputs) -> None:
        patches_BKCPQ, options = inputs.patches_BKCPQ, self.settings.options
        self.adam.descend(patches_BKCPQ, inputs.gradient_BKCPQ, inputs.learning_rate)
        blurred_BKCPQ = blur(patches_BKCPQ, inputs.kept_BK, self.settings.grid, width=options["width"])
        patches_BKCPQ.lerp_(blurred_BKCPQ, options["strength"])

    def keep(self, slots_BM: Tensor, kept_BM: Tensor) -> None:
        self.adam.keep(slots_BM)


def blur(patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid, *, width: float) -> Tensor:
    """Kept patches blurred by a Gaussian, at a cost that grows with K.

    First along rows, then along columns. Across a seam it sees the neighbour where that is kept; where it is pruned,
    or the image ends, the last pixel of the patch is repeated, so that no pruned pixel is ever looked at. With every
    patch kept this is the blur of the image with repeated edges.

    Args:
        patches_BKCPQ: kept patches, (B, K, C, P, Q).
        kept_BK: their places on the grid, int64 (B, K).
        width: standard deviation in pixels, positive; the kernel ends at three of them, or where it would reach past
            a neighbour.

    Returns:
        The blurred patches, (B, K, C, P, Q).
    """
    along_rows = _blur_rows(patches_BKCPQ, kept_BK, grid, (0, 1), width)
    return _blur_rows(along_rows.transpose(-1, -2), kept_BK, grid, (1, 0), width).transpose(-1, -2)


def _blur_rows(
    patches_BKCPQ: Tensor, kept_BK: Tensor, grid: PatchGrid, offset: tuple[int, int], width: float
) -> Tensor:
    """Patches blurred along their last axis, in whose direction the neighbour at `offset` lies."""
    Q = patches_BKCPQ.shape[-1]
    reach = min(math.ceil(3 * width), Q)

    def beyond(sign: int, edge: Tensor, repeated: Tensor) -> Tensor:
        slots_BK = grid.neighbour_slots(kept_BK, sign * offset[0], sign * offset[1])
        is_kept = (slots_BK >= 0)[:, :, None, None, None]
        return torch.where(is_kept, take_slots(edge, slots_BK.clamp_min(0)), repeated)

    before_BKCPE = beyond(-1, patches_BKCPQ[..., Q - reach :], patches_BKCPQ[..., :1])
    after_BKCPE = beyond(1, patches_BKCPQ[..., :reach], patches_BKCPQ[..., -1:])
    padded = torch.cat([before_BKCPE, patches_BKCPQ, after_BKCPE], dim=-1)
    # One product with a banded matrix: a pass over the pixels for each tap took longer.
    return padded @ _band(Q, reach, width).to(patches_BKCPQ)


def _band(length: int, reach: int, width: float) -> Tensor:
    """The blur of `length` pixels as a matrix (length + 2 reach, length): each column sums to 1."""
    taps = torch.exp(-(torch.arange(-reach, reach + 1, dtype=torch.float64) ** 2) / (2 * width**2))
    matrix = torch.zeros(length + 2 * reach, length, dtype=torch.float64)
    for pixel in range(length):
        matrix[pixel : pixel + 2 * reach + 1, pixel] = taps / taps.sum()
    return matrix
