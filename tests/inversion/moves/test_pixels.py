"""Adam over pixels: what a run did before there were moves, bit for bit."""

import torch

from smi_hf.inversion.state import TrajectoryState
from smi_hf.losses import LossInputs, weighted_losses
from smi_hf.patches import Augmentation, augment, draw_augmentations, take_slots

WEIGHTS = {"cross_entropy": 1.0, "total_variation": 1e-3}
SLOTS_BM = torch.tensor([[0, 1, 3, 5, 9], [1, 2, 3, 4, 15], [2, 3, 4, 5, 6]])


def plain_loop(teacher, state, shifts, flips):
    """Three steps, a prune, three steps, with an optimizer of torch over the pixels."""
    patches, kept_BK, targets_B, grid = state.patches_BKCPQ, state.kept_BK, state.targets_B, state.grid
    optimizer = torch.optim.Adam([patches], lr=0.25, betas=(0.5, 0.99), fused=True)
    for step in range(6):
        if step == 3:
            (moments,) = optimizer.state.values()
            patches, kept_BK = take_slots(patches.detach(), SLOTS_BM).requires_grad_(), take_slots(kept_BK, SLOTS_BM)
            optimizer.param_groups[0]["params"] = [patches]
            optimizer.state.clear()
            optimizer.state[patches] = {
                name: take_slots(value, SLOTS_BM) if value.dim() else value for name, value in moments.items()
            }
        moved, places_BK = augment(patches, kept_BK, Augmentation(shifts[step], flips[step]), grid)
        logits_BL = teacher.model.forward_patches(moved, places_BK).logits
        parts = weighted_losses(LossInputs(logits_BL, targets_B, patches, kept_BK, grid), WEIGHTS)
        (patches.grad,) = torch.autograd.grad(sum(parts.values()).sum(), patches)
        optimizer.step()
        with torch.no_grad():
            patches.clamp_(*teacher.normalization.bounds(patches))
    return patches.detach()


def test_a_trajectory_is_bit_for_bit_that_of_torchs_optimizer(teacher):
    from smi_hf.inversion.step import inversion_step

    grid = teacher.model.grid
    first, second = (TrajectoryState.start([0, 1, 2], [3, 1, 4], grid, seed=0) for _ in range(2))
    shifts, flips = draw_augmentations(grid, 6, first.generators)
    for step in range(6):
        if step == 3:
            second.keep(SLOTS_BM)
        view = Augmentation(shifts[step], flips[step])
        inversion_step(
            teacher.model,
            second,
            [view],
            loss_weights=WEIGHTS,
            normalization=teacher.normalization,
            learning_rate=0.25,
        )
    assert torch.equal(second.patches_BKCPQ, plain_loop(teacher, first, shifts, flips))


def test_pixels_move_as_adam_says(moving, noise, adam_direction, grid):
    images, gradients, expected = moving("pixels", grid), [], 0
    for _, gradient in zip(range(4), noise(grid)):
        gradients.append(gradient)
        images.update(gradient)
        expected = expected - 0.1 * adam_direction(gradients)
    torch.testing.assert_close(images.patches, expected, rtol=1e-12, atol=1e-12)
