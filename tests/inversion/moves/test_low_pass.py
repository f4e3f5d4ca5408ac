"""The blur of kept patches, and what is blended of it."""

import math

import numpy as np
import pytest
import torch

from smi_hf.inversion.moves.low_pass import blur
from smi_hf.patches import PatchGrid, take_slots

# The last is narrower than what the kernel would reach.
WIDTHS = [0.4, 0.7, 1.5, 3.0]


def taps(width, most):
    reach = min(math.ceil(3 * width), most)
    values = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * width**2))
    return values / values.sum()


@pytest.mark.parametrize("width", WIDTHS)
def test_with_every_patch_kept_it_is_the_blur_of_the_image_with_repeated_edges(width, grid):
    pixels = torch.randn(2, 3, *grid.image_size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = taps(width, 8)
    reach = len(kernel) // 2

    def blur_line(line):
        return np.convolve(np.pad(line, reach, mode="edge"), kernel, mode="valid")

    expected = np.apply_along_axis(blur_line, 3, pixels.numpy())
    expected = np.apply_along_axis(blur_line, 2, expected)
    kept_BN = grid.all_patches(2)
    ours = grid.paste(blur(grid.cut(pixels), kept_BN, grid, width=width), kept_BN)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


def slow_blur(patches, kept, grid, width):
    """Of one image: pixel by pixel, tap by tap, a patch at a time; (K, C, P, Q)."""
    slots = {place: slot for slot, place in enumerate(kept)}
    for axis, (down, right) in ((3, (0, 1)), (2, (1, 0))):
        side = patches.shape[axis]
        kernel = taps(width, side)
        result = np.zeros_like(patches)
        for slot, place in enumerate(kept):
            row, column = divmod(place, grid.columns)
            for pixel in range(side):
                for tap, weight in enumerate(kernel, start=-(len(kernel) // 2)):
                    at, source = pixel + tap, slot
                    way = -1 if at < 0 else 1 if at >= side else 0
                    there = (row + way * down, column + way * right)
                    inside = 0 <= there[0] < grid.rows and 0 <= there[1] < grid.columns
                    neighbour = slots.get(there[0] * grid.columns + there[1]) if inside else None
                    if way and neighbour is None:
                        at = min(max(at, 0), side - 1)
                    elif way:
                        source, at = neighbour, at % side
                    index = [slot, slice(None), slice(None), slice(None)]
                    index[axis] = pixel
                    taken = [source, slice(None), slice(None), slice(None)]
                    taken[axis] = at
                    result[tuple(index)] += weight * patches[tuple(taken)]
        patches = result
    return patches


@pytest.mark.parametrize("width", WIDTHS)
def test_kept_patches_see_kept_neighbours_and_their_own_edges_elsewhere(width):
    grid = PatchGrid(24, 12, 6, 4)
    kept = [[0, 1, 3, 4, 8, 11], [0, 2, 5, 6, 7, 10]]
    patches = np.random.default_rng(0).normal(size=(2, 6, 3, 6, 4))
    ours = blur(torch.from_numpy(patches), torch.tensor(kept), grid, width=width)
    for image in range(2):
        np.testing.assert_allclose(
            ours[image].numpy(), slow_blur(patches[image], kept[image], grid, width), atol=1e-12
        )


def test_a_checkerboard_vanishes_and_a_slope_stays(grid):
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(16.0), indexing="ij")
    kept_BN = grid.all_patches(1)
    for picture, expected in ((1 - 2 * ((x + y) % 2), torch.zeros(24, 16)), (x + 2 * y, x + 2 * y)):
        blurred = grid.paste(blur(grid.cut(picture.expand(1, 3, 24, 16)), kept_BN, grid, width=1.0), kept_BN)
        assert float((blurred[0, 0] - expected)[4:-4, 4:-4].abs().max()) < 2e-3


def test_a_step_is_that_of_pixels_and_then_the_blend(moving, noise, adam_direction, grid):
    options = ["strength=0.3", "width=0.8"]
    images, expected, gradients = moving("low_pass", grid, options=options), 0, []
    for _, gradient in zip(range(3), noise(grid)):
        gradients.append(gradient)
        images.update(gradient)
        moved = expected - 0.1 * adam_direction(gradients)
        expected = 0.7 * moved + 0.3 * blur(moved, images.kept_BK, grid, width=0.8)
    torch.testing.assert_close(images.patches, expected, rtol=1e-10, atol=1e-12)


def test_without_strength_it_is_pixels_bit_for_bit(moving, noise, grid):
    low_pass = moving("low_pass", grid, options=["strength=0"], dtype=torch.float32)
    pixels = moving("pixels", grid, dtype=torch.float32)
    for _, gradient in zip(range(3), noise(grid, dtype=torch.float32)):
        low_pass.update(gradient)
        pixels.update(gradient)
    assert torch.equal(low_pass.patches, pixels.patches)


def test_a_dropped_patch_no_longer_bleeds_into_its_neighbours(moving, noise, grid):
    start = next(noise(grid))
    loud = start.clone()
    loud[:, 2] = 100.0
    ends = []
    for pixels in (start, loud):
        images = moving("low_pass", grid, start=pixels)
        images.keep(torch.tensor([[0, 1, 3, 4, 5]] * 2))
        images.update(take_slots(next(noise(grid, seed=1)), images.kept_BK))
        ends.append(images.patches)
    assert torch.equal(*ends)
