from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch

from smi_hf import load_teacher
from smi_hf.demo import TEACHER_PATH
from smi_hf.inversion import NonFiniteLossError
from smi_hf.inversion.trajectory import run_trajectory


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


MOVES_AND_THE_REST = [
    {"move": "frequency"},
    {"move": "growing"},
    {"move": "low_pass"},
    {"lr_schedule": "one_cycle"},
    {"num_views": 2},
]


@pytest.mark.parametrize("settings", MOVES_AND_THE_REST, ids=lambda settings: "-".join(map(str, *settings.items())))
def test_however_an_image_moves_it_is_the_same_in_any_batch_and_any_run(teacher, config, settings):
    together = run_trajectory(teacher, config(**settings), [0, 1, 2], [2, 3, 4])
    again = run_trajectory(teacher, config(**settings), [0, 1, 2], [2, 3, 4])
    alone = run_trajectory(teacher, config(**settings), [1], [3])
    assert np.array_equal(together.patches_BKCPQ, again.patches_BKCPQ)
    assert together.kept_BK.shape == (3, 7) and np.array_equal(together.kept_BK[1], alone.kept_BK[0])
    # As above: 8 steps, and rounding of 8 bits.
    difference = np.abs(together.patches_BKCPQ[1].astype(int) - alone.patches_BKCPQ[0].astype(int))
    assert np.mean(difference <= 1) > 0.995
    plain = run_trajectory(teacher, config(), [1], [3])
    assert not np.array_equal(plain.patches_BKCPQ, alone.patches_BKCPQ)


@pytest.mark.parametrize("move", ["frequency", "growing", "low_pass"])
def test_every_move_makes_a_trained_teacher_see_the_targets(config, move):
    digits = load_teacher(str(TEACHER_PATH))
    settings = config(num_steps=60, prune_steps=None, flip_probability=0.0, learning_rate=0.1, move=move)
    images = run_trajectory(digits, settings, range(8), range(8))
    assert (images.target_probability_B > 0.5).sum() >= 7


def test_the_first_of_two_views_is_what_the_only_one_would_be(teacher, config, monkeypatch):
    import smi_hf.inversion.trajectory as trajectory

    shown = []

    def see(model, state, views, **others):
        shown.append([(view.shift_B2.tolist(), view.flip_B.tolist()) for view in views])
        return step(model, state, views, **others)

    step = trajectory.inversion_step
    monkeypatch.setattr(trajectory, "inversion_step", see)
    for num_views in (1, 2):
        run_trajectory(teacher, config(num_views=num_views), [0, 1], [2, 3])
    one, two = shown[:8], shown[8:]
    assert [views[0] for views in two] == [views[0] for views in one]
    assert all(len(views) == 2 for views in two) and any(first != second for first, second in two)


def test_each_step_gets_the_learning_rate_of_the_schedule(teacher, config):
    """A fresh Adam moves a pixel by the learning rate: nothing where that is next to nothing."""
    seen = []

    def look(state, losses):
        seen.append(state.patches_BKCPQ.detach().clone())

    run_trajectory(
        teacher, config(lr_schedule="one_cycle", policy="dense", prune_steps=None), [0], [2], on_step_end=look
    )
    moved = [float((after - before).abs().max()) for before, after in pairwise(seen)]
    # 8 steps: the top is at step 1.4, the last one is next to nothing.
    assert moved[0] > 0.1 and moved[-1] < 1e-4


def test_images_of_a_trajectory_share_no_patch_and_show_all_of_them(teacher, config):
    images = run_trajectory(teacher, config(policy="pri", prune_steps=None), [3, 4], [2, 0])
    assert images.image_indices == tuple(range(12, 20))
    assert images.labels == [2] * 4 + [0] * 4
    assert list(images.steps) == [2, 4, 6, 8] * 2
    assert images.kept_BK.shape == (8, 4) and images.patches_BKCPQ.shape == (8, 4, 3, 8, 8)
    assert (np.diff(images.kept_BK, axis=1) > 0).all()
    for kept in images.kept_BK.reshape(2, 16):
        assert sorted(kept) == list(range(16))


def test_what_cannot_be_shared_is_in_no_image(teacher, config):
    settings = config(policy="pri", prune_steps=None, images_per_trajectory=3, num_images=3)
    images = run_trajectory(teacher, settings, [0, 1], [2, 0])
    assert list(images.steps) == [2, 4, 6] * 2
    for kept in images.kept_BK.reshape(2, 15):
        assert len(set(kept)) == 15


def test_the_first_image_of_a_trajectory_is_what_its_patches_were_at_its_step(teacher, config):
    settings = config(policy="pri", prune_steps=None)
    pixels, kept_sets = [], []

    def look(state, losses):
        if state.step == 2:
            patches = teacher.normalization.to_uint8(state.patches_BKCPQ.detach())
            pixels.append(teacher.model.grid.paste(patches, state.kept_BK))
            scores = teacher.model.patch_attention(state.patches_BKCPQ.detach(), state.kept_BK)
            kept_sets.append(scores.topk(4, dim=1).indices.sort(dim=1).values)

    images = run_trajectory(teacher, settings, [0, 1], [2, 0], on_step_end=look)
    assert np.array_equal(images.kept_BK[::4], kept_sets[0])
    expected = teacher.model.grid.cut(pixels[0], kept_sets[0])
    assert np.array_equal(images.patches_BKCPQ[::4], expected)


def test_a_trajectorys_target_probabilities_are_those_of_each_images_own_patches(teacher, config):
    images = run_trajectory(teacher, config(policy="pri", prune_steps=None), [0, 1], [2, 3])
    patches = teacher.normalization.from_uint8(torch.from_numpy(images.patches_BKCPQ))
    logits = teacher.model.forward_patches(patches, torch.from_numpy(images.kept_BK)).logits
    expected = logits.softmax(dim=-1)[range(8), images.labels]
    assert np.allclose(images.target_probability_B, expected.detach().numpy(), atol=1e-6)


def test_a_trajectory_is_the_same_in_any_batch_but_for_rounding(teacher, config):
    settings = config(policy="pri", prune_steps=None)
    together = run_trajectory(teacher, settings, [0, 1, 2], [2, 3, 4])
    alone = run_trajectory(teacher, settings, [1], [3])
    assert np.array_equal(together.kept_BK[4:8], alone.kept_BK)
    # As for images above.
    difference = np.abs(together.patches_BKCPQ[4:8].astype(int) - alone.patches_BKCPQ.astype(int))
    assert np.mean(difference <= 1) > 0.995


def test_a_non_finite_loss_names_all_images_of_its_trajectory(teacher, config):
    teacher.model.model.classifier.bias.data[3] = -float("inf")
    with pytest.raises(NonFiniteLossError, match="non-finite at step 1 for images 44, 45, 46, 47; finished"):
        run_trajectory(teacher, config(policy="pri", prune_steps=None), [10, 11], [2, 3])
