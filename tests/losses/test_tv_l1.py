"""Total variation by absolute differences: against a search over pairs of pixels."""

import pytest
import torch
from hypothesis import given
from loss_cases import check_gradient, examples, loss_inputs, small_inputs, sparse_images

from smi_hf.losses import LOSSES
from smi_hf.patches import PatchGrid

TERM = LOSSES.get("tv_l1")


def by_search(grid: PatchGrid, pixels_CHW: torch.Tensor, kept: list[int]) -> float:
    """The mean absolute difference over pairs of kept pixels, summed over four directions."""

    def is_kept(y: int, x: int) -> bool:
        inside = y < grid.image_height and x < grid.image_width
        return inside and y // grid.patch_height * grid.columns + x // grid.patch_width in kept

    found = {"right": [], "down": [], "diagonal": [], "anti-diagonal": []}
    for y in range(grid.image_height):
        for x in range(grid.image_width):
            if not is_kept(y, x):
                continue
            for name, (other_y, other_x) in (
                ("right", (y, x + 1)),
                ("down", (y + 1, x)),
                ("diagonal", (y + 1, x + 1)),
            ):
                if is_kept(other_y, other_x):
                    found[name] += (pixels_CHW[:, y, x] - pixels_CHW[:, other_y, other_x]).abs().tolist()
            if is_kept(y, x + 1) and is_kept(y + 1, x):
                found["anti-diagonal"] += (pixels_CHW[:, y, x + 1] - pixels_CHW[:, y + 1, x]).abs().tolist()
    return sum(sum(values) / len(values) for values in found.values() if values)


@examples
@given(sparse_images())
def test_it_is_the_mean_absolute_difference_of_kept_pixels_in_each_direction(case):
    grid, pixels_BCHW, kept_BK = case
    found_B = TERM(loss_inputs(grid, pixels_BCHW, kept_BK))
    expected = [by_search(grid, pixels_CHW, kept) for pixels_CHW, kept in zip(pixels_BCHW, kept_BK.tolist())]
    assert found_B.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_with_every_patch_kept_it_is_that_of_the_whole_image():
    grid = PatchGrid(6, 8, 3, 2)
    pixels = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    differences = (
        pixels[..., :-1] - pixels[..., 1:],
        pixels[..., :-1, :] - pixels[..., 1:, :],
        pixels[..., 1:, :-1] - pixels[..., :-1, 1:],
        pixels[..., :-1, :-1] - pixels[..., 1:, 1:],
    )
    expected_B = sum(difference.abs().mean(dim=(1, 2, 3)) for difference in differences)
    torch.testing.assert_close(TERM(loss_inputs(grid, pixels)), expected_B, rtol=1e-12, atol=0)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, patches_BKCPQ=inputs.patches_BKCPQ)
