"""Spectra that move instead of pixels: the basis, its size, and Adam in it."""

import math

import numpy as np
import pytest
import torch

from smi_hf.inversion.moves.frequency import Basis
from smi_hf.patches import PatchGrid, take_slots

GRIDS = [PatchGrid(24, 16, 8, 8), PatchGrid(15, 21, 5, 7), PatchGrid(16, 16, 8, 8)]


def reference(grid):
    """F written down once more: the scale of each of the H x W frequencies, and the color matrix."""
    H, W = grid.image_size
    scale = np.zeros((H, W))
    for v in range(H):
        for u in range(W):
            # A frequency beyond half of the pixels is that of the other direction.
            f = math.sqrt((min(v, H - v) / H) ** 2 + (min(u, W - u) / W) ** 2)
            scale[v, u] = 1 / max(f, 1 / max(H, W))
    scale *= math.sqrt(H * W / (scale**2).sum())
    grey, red_blue, green = np.array([1, 1, 1]), np.array([1, 0, -1]), np.array([1, -2, 1])
    color = np.stack([grey / 3**0.5, 0.28 * red_blue / 2**0.5, 0.13 * green / 6**0.5], axis=1)
    color *= math.sqrt(3 / (color**2).sum())
    return scale, color


def to_pixels(spectrum, scale, color):
    """F z of a full spectrum (3, H, W)."""
    return np.einsum("ck,khw->chw", color, np.fft.ifft2(spectrum * scale, norm="ortho").real)


def to_slopes(gradient, scale, color):
    """F^T g."""
    return scale * np.fft.fft2(np.einsum("ck,chw->khw", color, gradient), norm="ortho")


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_steps_are_those_of_adam_over_the_full_spectrum(moving, noise, adam_direction, grid):
    scale, color = reference(grid)
    images, slopes, expected = moving("frequency", grid, num_images=1), [], np.zeros((3, *grid.image_size))
    for _, gradient in zip(range(4), noise(grid, 1)):
        images.update(gradient)
        pixels = grid.paste(gradient, images.kept_BK)[0].numpy()
        slopes.append(to_slopes(pixels, scale, color))
        expected -= 0.1 * to_pixels(adam_direction(slopes), scale, color)
    np.testing.assert_allclose(grid.paste(images.patches, images.kept_BK)[0].numpy(), expected, atol=1e-10)


def test_after_a_prune_steps_are_those_of_the_gradient_that_is_left(moving, noise, adam_direction, grid):
    scale, color = reference(grid)
    images, gradients = moving("frequency", grid, num_images=1), noise(grid, 1)
    for _ in range(3):
        images.update(next(gradients))
    images.keep(torch.tensor([[1, 2, 5]]))
    slopes = []
    for _ in range(3):
        gradient = take_slots(next(gradients), images.kept_BK)
        change = images.update(gradient)
        # 0 where patches are dropped; Adam begins anew; half of the patches, so a step of sqrt(1 / 2).
        slopes.append(to_slopes(grid.paste(gradient, images.kept_BK)[0].numpy(), scale, color))
        direction = to_pixels(adam_direction(slopes), scale, color)
        expected = -0.1 * math.sqrt(0.5) * grid.cut(torch.from_numpy(direction)[None], images.kept_BK)
        torch.testing.assert_close(change, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_transpose_is_the_transpose(grid):
    """<g, F z> = <F^T g, z>, over the full spectra of which halves are stored."""
    basis, generator = Basis(grid), torch.Generator().manual_seed(0)
    H, W = grid.image_size
    pixels, gradient = (torch.randn(1, 3, H, W, generator=generator, dtype=torch.float64) for _ in range(2))
    spectrum = torch.fft.rfft2(pixels, norm="ortho")
    slope = basis.transposed(gradient)
    # A stored frequency stands for itself and its conjugate, unless it is its own.
    times = torch.full((W // 2 + 1,), 2.0, dtype=torch.float64)
    times[0] = 1.0
    if W % 2 == 0:
        times[-1] = 1.0
    over_spectra = float(((slope.conj() * spectrum).real * times).sum())
    assert over_spectra == pytest.approx(float((gradient * basis(spectrum)).sum()), rel=1e-9)


def test_a_pixel_is_moved_by_the_learning_rate_in_the_root_mean_square(moving, noise, grid):
    """Exactly, by a fresh Adam: its coefficients have modulus 1, and the mean square of F is 1."""
    change = moving("frequency", grid).update(next(noise(grid)))
    torch.testing.assert_close(
        change.square().mean(dim=(1, 2, 3, 4)), torch.full((2,), 0.01).double(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("num_kept", [16, 4])
def test_in_the_long_run_too_steps_are_about_as_long_as_those_of_pixels(moving, noise, num_kept):
    """On gradients that are white noise, with all patches and with a quarter: within 30 %."""
    grid, lengths = PatchGrid(64, 64, 16, 16), {}
    for name in ("frequency", "pixels"):
        images = moving(name, grid)
        if num_kept < 16:
            images.keep(torch.tensor([[0, 5, 6, 11], [3, 7, 8, 13]]))
        squares = []
        for step, gradient in zip(range(60), noise(grid)):
            change = images.update(take_slots(gradient, images.kept_BK))
            if step >= 30:
                squares.append(change.square().mean())
        lengths[name] = float(torch.stack(squares).mean().sqrt())
    assert 0.7 < lengths["frequency"] / lengths["pixels"] < 1.3, lengths


def test_a_shifted_image_moves_as_the_image_shifted(moving, noise, grid):
    still, shifted = moving("frequency", grid), moving("frequency", grid)
    for _, gradient in zip(range(3), noise(grid)):
        pixels = grid.paste(gradient, still.kept_BK)
        still.update(gradient)
        shifted.update(grid.cut(pixels.roll((5, 3), dims=(2, 3))))
    expected = grid.paste(still.patches, still.kept_BK).roll((5, 3), dims=(2, 3))
    torch.testing.assert_close(grid.paste(shifted.patches, still.kept_BK), expected, rtol=1e-7, atol=1e-9)


def test_low_frequencies_and_brightness_move_most(moving, noise):
    grid = PatchGrid(64, 64, 16, 16)
    images = moving("frequency", grid)
    change = grid.paste(images.update(next(noise(grid))), images.kept_BK)
    power = torch.fft.rfft2(change).abs().square().mean(dim=(0, 1))
    # 1/f: four times the frequency, a sixteenth of the power.
    assert float(power[0, 4] / power[0, 16]) == pytest.approx(16, rel=0.05)
    brightness, red_blue = change.mean(dim=1), (change[:, 0] - change[:, 2]) / 3
    assert float(brightness.square().mean()) > 5 * float(red_blue.square().mean())
