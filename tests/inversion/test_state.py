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
    (moments,) = state.optimizer.state.values()
    before = {name: moments[name].clone() for name in ("step", "exp_avg", "exp_avg_sq")}
    slots = torch.tensor([[0, 5, 9], [1, 2, 15], [3, 4, 8]])
    pixels = state.patches_BKCPQ.detach().clone()
    state.keep(slots)
    (after,) = state.optimizer.state.values()
    assert torch.equal(after["exp_avg"], take_slots(before["exp_avg"], slots))
    assert torch.equal(after["exp_avg_sq"], take_slots(before["exp_avg_sq"], slots))
    assert torch.equal(after["step"], before["step"])
    assert torch.equal(state.patches_BKCPQ, take_slots(pixels, slots))
    assert torch.equal(state.kept_BK, slots)
