"""Blocks of pixels that move as one, and get smaller."""

import pytest
import torch

from smi_hf.patches import PatchGrid, take_slots


def sides(moving, grid, num_steps, *options):
    move = moving("growing", grid, num_steps=num_steps, options=options).move
    return [move.block_side(step) for step in range(num_steps)]


def test_blocks_shrink_over_the_first_half_of_the_run(moving, grid):
    assert sides(moving, grid, 12) == [8, 8, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1]
    assert sides(moving, grid, 1) == [8]
    assert sides(moving, grid, 2) == [8, 1]


def test_pixels_move_from_the_share_that_is_given(moving, grid):
    assert sides(moving, grid, 6, "fine_from=1") == [8, 8, 4, 4, 2, 2]
    assert sides(moving, grid, 6, "fine_from=0") == [1] * 6


def test_a_block_divides_a_patch(moving):
    assert sides(moving, PatchGrid(28, 28, 14, 14), 8) == [7, 7, 2, 2, 1, 1, 1, 1]
    assert sides(moving, PatchGrid(12, 20, 6, 10), 8) == [2, 2, 2, 2, 1, 1, 1, 1]
    assert sides(moving, PatchGrid(10, 10, 5, 5), 8) == [5, 5, 1, 1, 1, 1, 1, 1]


def spread(values, side):
    """One value a block, to all its pixels."""
    return values.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)


@pytest.mark.parametrize("side", [8, 4, 2])
def test_the_pixels_of_a_block_move_alike_and_blocks_do_not(moving, noise, grid, side):
    images, gradients = moving("growing", grid, num_steps=24, start=next(noise(grid, seed=1))), noise(grid)
    changes = {}
    for _ in range(12):
        block_side = images.move.block_side(images.step)
        changes[block_side] = images.update(next(gradients))
        if images.step == 2:
            images.keep(torch.tensor([[0, 1, 3, 5], [1, 2, 3, 4]]))
            gradients = (take_slots(gradient, images.kept_BK) for gradient in noise(grid, seed=2))
    change = changes[side]
    torch.testing.assert_close(change, spread(change[..., ::side, ::side], side), rtol=1e-9, atol=1e-12)
    half = side // 2
    assert not torch.allclose(change[..., :half, :half].mean(dim=(-1, -2)), change.mean(dim=(-1, -2))) or side == 8


def test_a_run_is_that_of_adam_over_means_of_blocks_begun_anew_with_each_size(moving, noise, adam_direction, grid):
    """Three sizes and pixels, two steps each; a slow reference that knows no patches but their pixels."""
    images, expected = moving("growing", grid, num_steps=12), 0
    gradients, side = [], None
    for step, gradient in zip(range(12), noise(grid)):
        images.update(gradient)
        if side != [8, 4, 2, 1, 1, 1][step // 2]:
            side, gradients = [8, 4, 2, 1, 1, 1][step // 2], []
        means = torch.zeros(*gradient.shape[:3], 8 // side, 8 // side, dtype=torch.float64)
        for row in range(8 // side):
            for column in range(8 // side):
                block = gradient[..., row * side : (row + 1) * side, column * side : (column + 1) * side]
                means[..., row, column] = block.mean(dim=(-1, -2))
        gradients.append(means)
        expected = expected - 0.1 * spread(adam_direction(gradients), side)
    torch.testing.assert_close(images.patches, expected, rtol=1e-10, atol=1e-12)


def test_without_coarse_steps_it_is_pixels_bit_for_bit(moving, noise, grid):
    growing = moving("growing", grid, options=["fine_from=0"], dtype=torch.float32)
    pixels = moving("pixels", grid, dtype=torch.float32)
    for _, gradient in zip(range(5), noise(grid, dtype=torch.float32)):
        growing.update(gradient)
        pixels.update(gradient)
    assert torch.equal(growing.patches, pixels.patches)


def test_a_gradient_may_lie_in_memory_as_it_likes(moving, noise, grid):
    gradient = next(noise(grid))
    odd = gradient.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(moving("growing", grid).update(gradient), moving("growing", grid).update(odd))
