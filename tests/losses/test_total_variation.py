"""Total variation: against the dense formula, and against a search over pairs of pixels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import examples, loss_inputs, sparse_images

from smi_hf.losses import LOSSES
from smi_hf.patches import PatchGrid


def dense_total_variation(pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """DeepInversion's four differences, with one norm an image."""
    differences = (
        pixels_BCHW[..., :-1] - pixels_BCHW[..., 1:],
        pixels_BCHW[..., :-1, :] - pixels_BCHW[..., 1:, :],
        pixels_BCHW[..., 1:, :-1] - pixels_BCHW[..., :-1, 1:],
        pixels_BCHW[..., :-1, :-1] - pixels_BCHW[..., 1:, 1:],
    )
    return sum(difference.flatten(1).norm(dim=1) for difference in differences)


@examples
@given(sparse_images())
def test_total_variation_with_every_patch_kept_is_that_of_the_whole_image(case):
    grid, pixels_BCHW, _ = case
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_BCHW))
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, dense_total_variation(pixels_BCHW), rtol=1e-12, atol=1e-12)


def total_variation_by_search(grid: PatchGrid, pixels_CHW: torch.Tensor, kept: list[int]) -> torch.Tensor:
    """The sum over four directions of the norm over all pairs of kept pixels, sought pair by pair; differentiable."""

    def is_kept(y: int, x: int) -> bool:
        inside = y < grid.image_height and x < grid.image_width
        return inside and y // grid.patch_height * grid.columns + x // grid.patch_width in kept

    pairs = {"right": [], "down": [], "diagonal": [], "anti-diagonal": []}
    for y in range(grid.image_height):
        for x in range(grid.image_width):
            if not is_kept(y, x):
                continue
            for name, other in (("right", (y, x + 1)), ("down", (y + 1, x)), ("diagonal", (y + 1, x + 1))):
                if is_kept(*other):
                    pairs[name].append(((y, x), other))
            # The anti-diagonal pair hangs on its upper left pixel, which has to be kept as well.
            if is_kept(y, x + 1) and is_kept(y + 1, x):
                pairs["anti-diagonal"].append(((y, x + 1), (y + 1, x)))
    norms = [0 * pixels_CHW.sum()]  # no pair at all: no loss, and no gradient
    for direction in pairs.values():
        if direction:
            places = torch.tensor(direction)  # pair, end, (y, x)
            ends = [pixels_CHW[:, places[:, end, 0], places[:, end, 1]] for end in (0, 1)]
            norms.append((ends[0] - ends[1]).norm())
    return sum(norms)


@examples
@given(sparse_images(), st.floats(-3, 3))
def test_total_variation_and_its_gradient_count_exactly_the_pairs_of_pixels_that_are_kept(case, weight):
    grid, pixels_BCHW, kept_BK = case
    pixels_BCHW.requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_BCHW, kept_BK))
    expected_B = torch.stack(
        [total_variation_by_search(grid, pixels_CHW, kept) for pixels_CHW, kept in zip(pixels_BCHW, kept_BK.tolist())]
    )
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, expected_B, rtol=1e-12, atol=1e-12)
    # Each image with a weight of its own.
    weight_B = weight + torch.arange(len(pixels_BCHW))
    found_BCHW, expected_BCHW = (
        torch.autograd.grad((weight_B * total_B).sum(), pixels_BCHW, allow_unused=True)[0]
        for total_B in (found_B, expected_B)
    )
    expected_BCHW = torch.zeros_like(pixels_BCHW) if expected_BCHW is None else expected_BCHW
    torch.testing.assert_close(found_BCHW, expected_BCHW, rtol=1e-10, atol=1e-10)
    assert (grid.cut(found_BCHW)[grid.slots(kept_BK) < 0] == 0).all()


@pytest.mark.parametrize(
    ("kept", "num_pairs"),
    [
        ([0, 1, 2, 3], 1),
        ([0, 1, 2], 1),  # the upper left patch carries the pair
        ([1, 2, 3], 0),  # it is pruned, and the pair with it
        ([1, 2], 0),
    ],
)
def test_an_anti_diagonal_pair_across_a_corner_wants_the_patch_above_it_too(kept, num_pairs):
    """Patches of one pixel: only the two pixels of the anti-diagonal differ from the others."""
    grid = PatchGrid(2, 2, 1, 1)
    pixels_1CHW = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    pixels_1CHW[0, 0, 0, 1], pixels_1CHW[0, 0, 1, 0] = 3.0, -3.0
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_1CHW, torch.tensor([kept])))
    right_pairs = [(0, 1), (2, 3)]
    down_pairs = [(0, 2), (1, 3)]
    straight = sum(
        3 * math.sqrt(sum(one in kept and other in kept for one, other in pairs))
        for pairs in (right_pairs, down_pairs)
    )
    assert float(found_B) == pytest.approx(straight + 6 * num_pairs)


def test_patches_that_do_not_touch_have_no_seam_to_smooth():
    grid = PatchGrid(3, 3, 1, 1)
    pixels_1CHW = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_1CHW, torch.tensor([[0, 2, 7]])))
    assert found_B.item() == 0
    (gradient,) = torch.autograd.grad(found_B.sum(), pixels_1CHW)
    assert (gradient == 0).all()


def test_the_gradient_of_total_variation_is_that_of_finite_differences():
    grid = PatchGrid(4, 6, 2, 2)
    kept_BK = torch.tensor([[0, 1, 4], [5, 3, 1]])
    generator = torch.Generator().manual_seed(0)
    pixels_BCHW = torch.randn(2, 1, 4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda pixels: LOSSES.get("total_variation")(loss_inputs(grid, pixels, kept_BK)), pixels_BCHW
    )


def test_a_flat_image_does_not_change_the_gradient_of_its_neighbour_in_the_batch():
    grid = PatchGrid(8, 8, 4, 4)
    noisy_1CHW = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch_BCHW = torch.cat([torch.zeros(1, 3, 8, 8), noisy_1CHW]).requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, batch_BCHW))
    (gradient_BCHW,) = torch.autograd.grad(found_B.sum(), batch_BCHW)
    assert (gradient_BCHW[0] == 0).all()
    assert (gradient_BCHW[1] != 0).any()
