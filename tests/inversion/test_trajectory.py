from contextlib import nullcontext

import numpy as np
import pytest
import torch

from smi_hf import load_teacher
from smi_hf.demo import TEACHER_PATH
from smi_hf.inversion import NonFiniteLossError
from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.step import inversion_step
from smi_hf.inversion.trajectory import run_trajectory
from smi_hf.patches import Augmentation, take_slots
from smi_hf.patches.randomness import image_generator


@pytest.fixture
def state(teacher):
    return TrajectoryState.start([0, 1, 2], [3, 1, 4], teacher.model.grid, seed=0)


def take_step(teacher, state, weights=None):
    still = Augmentation(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.bool))
    weights = weights or {"cross_entropy": 1.0, "total_variation": 1e-3}
    return inversion_step(teacher.model, state, still, loss_weights=weights, normalization=teacher.normalization)


def test_an_image_starts_from_the_same_noise_in_any_batch(teacher):
    alone = TrajectoryState.start([7], [0], teacher.model.grid, seed=5)
    among = TrajectoryState.start([3, 7, 9], [0, 0, 0], teacher.model.grid, seed=5)
    assert torch.equal(alone.patches_BKCPQ[0], among.patches_BKCPQ[1])
    assert not torch.equal(among.patches_BKCPQ[0], among.patches_BKCPQ[1])
    assert image_generator(5, 7).initial_seed() != image_generator(6, 7).initial_seed()


def test_a_step_changes_every_kept_pixel_and_no_weight(teacher, state):
    before, weights = state.patches_BKCPQ.detach().clone(), teacher.weights_sha256()
    losses = take_step(teacher, state)
    assert set(losses) == {"cross_entropy", "total_variation"}
    assert all(loss.shape == (3,) and not loss.requires_grad for loss in losses.values())
    assert (state.patches_BKCPQ != before).float().mean() > 0.99  # the rest sits at the clamp
    assert teacher.weights_sha256() == weights
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_pixels_stay_within_what_an_image_file_can_hold(teacher, state):
    take_step(teacher, state)
    low, high = teacher.normalization.bounds(state.patches_BKCPQ)
    assert bool((state.patches_BKCPQ >= low).all()) and bool((state.patches_BKCPQ <= high).all())


def test_dropping_patches_keeps_the_moments_of_those_that_stay(teacher, state):
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


def test_keeping_every_patch_at_a_prune_changes_no_image(teacher, config):
    pruned = run_trajectory(teacher, config(prune_steps=[4], prune_ratios=[0.0]), [0, 1], [2, 3])
    dense = run_trajectory(teacher, config(policy="dense", prune_steps=None), [0, 1], [2, 3])
    assert np.array_equal(pruned.patches_BKCPQ, dense.patches_BKCPQ)


def test_dropped_patches_never_come_back_and_no_longer_matter(teacher, config):
    kept_sets = []
    run_trajectory(teacher, config(), [0, 1], [2, 3], on_prune=lambda state: kept_sets.append(state.kept_BK.clone()))
    assert [kept.shape[1] for kept in kept_sets] == [11, 7]
    for image in range(2):
        assert set(kept_sets[1][image].tolist()) < set(kept_sets[0][image].tolist())


def test_an_image_is_the_same_in_any_batch_but_for_rounding(teacher, config):
    together = run_trajectory(teacher, config(), [0, 1, 2], [2, 3, 4])
    alone = run_trajectory(teacher, config(), [1], [3])
    assert np.array_equal(together.kept_BK[1], alone.kept_BK[0])
    # Rounding differs with the shape of the batch, and Adam divides small gradients by their own size; 8 steps are few
    # enough that a pixel moves by more than one of 255 values almost nowhere.
    difference = np.abs(together.patches_BKCPQ[1].astype(int) - alone.patches_BKCPQ[0].astype(int))
    assert np.mean(difference <= 1) > 0.995


def test_the_same_batch_is_the_same_bit_by_bit(teacher, config):
    first, second = (run_trajectory(teacher, config(), [0, 1], [2, 3]) for _ in range(2))
    assert np.array_equal(first.patches_BKCPQ, second.patches_BKCPQ)
    assert np.array_equal(first.target_probability_B, second.target_probability_B)


@pytest.mark.parametrize("autocast", [nullcontext, lambda: torch.autocast("cpu", dtype=torch.bfloat16)])
def test_inversion_makes_a_trained_teacher_see_the_targets(config, autocast):
    digits = load_teacher(str(TEACHER_PATH))
    settings = config(num_steps=150, prune_steps=None, flip_probability=0.0, learning_rate=0.1)
    images = run_trajectory(digits, settings, range(8), range(8), autocast=autocast)
    # Chance is 0.1; 8 of 8 were seen above 0.5.
    assert (images.target_probability_B > 0.5).sum() >= 7


def test_the_target_probability_is_that_of_the_8_bit_patches(teacher, config):
    images = run_trajectory(teacher, config(), [0, 1], [2, 3])
    patches = teacher.normalization.from_uint8(torch.from_numpy(images.patches_BKCPQ))
    logits = teacher.model.forward_patches(patches, torch.from_numpy(images.kept_BK)).logits
    expected = logits.softmax(dim=-1)[[0, 1], [2, 3]]
    assert np.allclose(images.target_probability_B, expected.detach().numpy(), atol=1e-6)


def test_a_non_finite_loss_names_the_step_and_the_images(teacher, config):
    # A label of probability zero: its cross entropy is infinite from the first step on.
    teacher.model.model.classifier.bias.data[3] = -float("inf")
    with pytest.raises(NonFiniteLossError, match="non-finite at step 1 for image 11; finished shards are intact"):
        run_trajectory(teacher, config(), [10, 11], [2, 3])


@pytest.mark.parametrize("policy", ["smi", "random", "dense"])
def test_each_policy_runs_and_keeps_what_its_schedule_says(teacher, config, policy):
    steps = None if policy == "dense" else [2, 5]
    images = run_trajectory(teacher, config(policy=policy, prune_steps=steps), [0, 1], [2, 3])
    assert images.kept_BK.shape == (2, 16 if policy == "dense" else 7)
    assert (np.diff(images.kept_BK, axis=1) > 0).all()
