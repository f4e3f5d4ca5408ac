"""Penalties on pairs of pixels: which pairs there are, and how many."""

import torch
from hypothesis import given
from loss_cases import examples, sparse_images

from smi_hf.patches.pairs import penalize_differences


def pairs_by_search(grid, kept) -> list[int]:
    """How many pairs of kept pixels there are in each of the four directions, sought pixel by pixel."""

    def is_kept(y: int, x: int) -> bool:
        inside = y < grid.image_height and x < grid.image_width
        return inside and y // grid.patch_height * grid.columns + x // grid.patch_width in kept

    here = [(y, x) for y in range(grid.image_height) for x in range(grid.image_width) if is_kept(y, x)]
    return [
        sum(is_kept(y, x + 1) for y, x in here),
        sum(is_kept(y + 1, x) for y, x in here),
        sum(is_kept(y + 1, x + 1) for y, x in here),
        sum(is_kept(y, x + 1) and is_kept(y + 1, x) for y, x in here),
    ]


@examples
@given(sparse_images())
def test_a_penalty_is_told_how_many_pairs_there_are(case):
    grid, pixels_BCHW, kept_BK = case
    counts = []

    def note(difference, count):
        counts.append(count())
        return difference.flatten(1).sum(dim=1), torch.ones_like(difference)

    penalize_differences(grid.cut(pixels_BCHW, kept_BK), kept_BK, grid, note)
    expected = [pairs_by_search(grid, kept) for kept in kept_BK.tolist()]
    assert (torch.stack(counts, dim=1) == pixels_BCHW.shape[1] * torch.tensor(expected)).all()


@examples
@given(sparse_images())
def test_differences_are_0_where_there_is_no_pair(case):
    grid, pixels_BCHW, kept_BK = case

    def check(difference, count):
        assert ((difference != 0).flatten(1).sum(dim=1) <= count()).all()
        return difference.flatten(1).sum(dim=1), torch.ones_like(difference)

    penalize_differences(grid.cut(pixels_BCHW, kept_BK), kept_BK, grid, check)
