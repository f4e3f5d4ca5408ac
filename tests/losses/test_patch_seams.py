"""Patch seams: against the formula over whole images, and a search along the lines."""

import pytest
import torch
from hypothesis import given
from loss_cases import check_gradient, examples, loss_inputs, small_inputs, sparse_images

from smi_hf.losses import LOSSES
from smi_hf.patches import PatchGrid

TERM = LOSSES.get("patch_seams")


def by_search(grid: PatchGrid, pixels_CHW: torch.Tensor, kept: list[int]) -> float:
    """Of each line the norm of the jumps of all pairs of pixels on its two sides whose patches are kept."""
    total = 0.0
    for axis, side, other_side in ((1, grid.patch_height, grid.image_width), (2, grid.patch_width, grid.image_height)):
        for line in range(side, pixels_CHW.shape[axis], side):
            squares = 0.0
            for along in range(other_side):
                before, behind = (
                    ((line - 1, along), (line, along)) if axis == 1 else ((along, line - 1), (along, line))
                )
                patches = [y // grid.patch_height * grid.columns + x // grid.patch_width for y, x in (before, behind)]
                if set(patches) <= set(kept):
                    jump = pixels_CHW[:, before[0], before[1]] - pixels_CHW[:, behind[0], behind[1]]
                    squares += float(jump.square().sum())
            total += squares**0.5
    return total


@examples
@given(sparse_images())
def test_jumps_count_where_both_patches_are_kept(case):
    grid, pixels_BCHW, kept_BK = case
    found_B = TERM(loss_inputs(grid, pixels_BCHW, kept_BK))
    expected = [by_search(grid, pixels_CHW, kept) for pixels_CHW, kept in zip(pixels_BCHW, kept_BK.tolist())]
    assert found_B.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_with_every_patch_kept_it_is_gradvits_sum_of_norms():
    grid = PatchGrid(6, 8, 3, 2)
    pixels = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows_B = sum((pixels[:, :, y] - pixels[:, :, y - 1]).flatten(1).norm(dim=1) for y in (3,))
    columns_B = sum((pixels[..., x] - pixels[..., x - 1]).flatten(1).norm(dim=1) for x in (2, 4, 6))
    torch.testing.assert_close(TERM(loss_inputs(grid, pixels)), rows_B + columns_B, rtol=1e-12, atol=0)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, patches_BKCPQ=inputs.patches_BKCPQ)


def test_pixels_inside_of_patches_do_not_matter():
    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    inputs.patches_BKCPQ.requires_grad_()
    (gradient,) = torch.autograd.grad(TERM(inputs).sum(), inputs.patches_BKCPQ)
    assert (gradient[..., 1:-1, 1:-1] == 0).all() and (gradient != 0).any()
