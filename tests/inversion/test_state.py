"""The images being made: the noise that they start from, and what is left when patches are dropped."""

import torch

from smi_hf.inversion.state import TrajectoryState
from smi_hf.patches import take_slots
from smi_hf.patches.randomness import image_generator


def test_an_image_starts_from_the_same_noise_in_any_batch(teacher):
    alone = TrajectoryState.start([7], [0], teacher.model.grid, seed=5)
    among = TrajectoryState.start([3, 7, 9], [0, 0, 0], teacher.model.grid, seed=5)
    assert torch.equal(alone.patches_BKCPQ[0], among.patches_BKCPQ[1])
    assert not torch.equal(among.patches_BKCPQ[0], among.patches_BKCPQ[1])
    assert image_generator(5, 7).initial_seed() != image_generator(6, 7).initial_seed()


def test_dropping_patches_keeps_the_moments_of_those_that_stay(teacher, state, take_step):
    for _ in range(3):
        take_step(teacher, state)
    adam = state.move.adam
    first, second = adam.first.clone(), adam.second.clone()
    slots = torch.tensor([[0, 5, 9], [1, 2, 15], [3, 4, 8]])
    pixels = state.patches_BKCPQ.detach().clone()
    state.keep(slots)
    assert torch.equal(adam.first, take_slots(first, slots))
    assert torch.equal(adam.second, take_slots(second, slots))
    assert float(adam.step) == 3
    assert torch.equal(state.patches_BKCPQ, take_slots(pixels, slots))
    assert torch.equal(state.kept_BK, slots)


def test_an_update_moves_by_the_learning_rate_and_counts_the_step(state):
    before = state.patches_BKCPQ.detach().clone()
    state.update(torch.ones_like(before), 0.5)
    torch.testing.assert_close(state.patches_BKCPQ.detach(), before - 0.5)
    assert state.step == 1 and state.patches_BKCPQ.requires_grad and state.patches_BKCPQ.is_leaf
