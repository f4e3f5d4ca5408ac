"""Ranges of weights of few bits: where the values lie that a group of weights is rounded to.

Legend: `G` groups of weights that share a scale and a shift, `S` weights of a group.
"""

import torch
from torch import Tensor

# Where the search for a group's range starts: from, to, as shares of the way from its smallest to its largest weight.
_REACHES = [(left / 20, 1 - right / 20) for left in range(9) for right in range(9)]
_NUM_TURNS = 10


def least_squares_range(weights_GS: Tensor, bits: int, importance_S: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scale and shift, (G, 1) each, of the smallest squared error when a group's weights are rounded to a few values.

    Those values are `scale * code - shift` for codes from 0 to `2**bits - 1`. The best of many reaches is improved by
    turns: the nearest code of each weight, then the line through (code, weight), by least squares.

    Args:
        importance_S: how much the error of each weight of a group counts, > 0; all the same if None.
    """
    importance_S = torch.ones_like(weights_GS[0]) if importance_S is None else importance_S
    share_S = importance_S / importance_S.sum()
    last = 2**bits - 1
    low_G1, high_G1 = weights_GS.aminmax(dim=1, keepdim=True)
    mean_G1 = _mean(weights_GS, share_S)
    # A group of equal weights has no reach: its shift alone represents it, whatever the scale.
    smallest = torch.finfo(weights_GS.dtype).tiny ** 0.5
    best: tuple[Tensor, Tensor] = (torch.full_like(mean_G1, smallest), -mean_G1)
    error_G1 = _error(weights_GS, *best, last, share_S)
    for left, right in _REACHES:
        least_G1 = low_G1 + left * (high_G1 - low_G1)
        scale_G1 = ((right - left) * (high_G1 - low_G1) / last).clamp_min(smallest)
        best, error_G1 = _better(weights_GS, best, error_G1, (scale_G1, -least_G1), last, share_S)
    for _ in range(_NUM_TURNS):
        codes_GS = nearest_codes(weights_GS, *best, last)
        middle_G1 = _mean(codes_GS, share_S)
        away_GS = codes_GS - middle_G1
        slope_G1 = _mean(away_GS * weights_GS, share_S) / _mean(away_GS.square(), share_S)
        # All weights at one code have no line through them.
        scale_G1 = torch.where(slope_G1.isfinite(), slope_G1, best[0]).clamp_min(smallest)
        new = scale_G1, scale_G1 * middle_G1 - mean_G1
        best, error_G1 = _better(weights_GS, best, error_G1, new, last, share_S)
    return best


def nearest_codes(weights_GS: Tensor, scale_G1: Tensor, shift_G1: Tensor, last: int) -> Tensor:
    """What weights are rounded to, as whole numbers from 0 to `last`, in floating point."""
    return ((weights_GS + shift_G1) / scale_G1).round().clamp(0, last)


def rounded(weights_GS: Tensor, scale_G1: Tensor, shift_G1: Tensor, last: int) -> Tensor:
    """The values that weights are rounded to."""
    return scale_G1 * nearest_codes(weights_GS, scale_G1, shift_G1, last) - shift_G1


def _better(
    weights_GS: Tensor,
    best: tuple[Tensor, Tensor],
    error_G1: Tensor,
    new: tuple[Tensor, Tensor],
    last: int,
    share_S: Tensor,
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Of two ranges, for each group the one of the smaller error, and that error."""
    new_error_G1 = _error(weights_GS, *new, last, share_S)
    is_better_G1 = new_error_G1 < error_G1
    scale_G1, shift_G1 = (torch.where(is_better_G1, after, before) for after, before in zip(new, best))
    return (scale_G1, shift_G1), torch.minimum(new_error_G1, error_G1)


def _error(weights_GS: Tensor, scale_G1: Tensor, shift_G1: Tensor, last: int, share_S: Tensor) -> Tensor:
    return _mean((rounded(weights_GS, scale_G1, shift_G1, last) - weights_GS).square(), share_S)


def _mean(values_GS: Tensor, share_S: Tensor) -> Tensor:
    return (values_GS * share_S).sum(dim=1, keepdim=True)
