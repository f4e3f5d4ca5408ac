"""One step: what it changes, what it leaves alone, and what several views of an image make of it."""

import torch

from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.step import inversion_step
from smi_hf.patches import Augmentation

VIEWS = [
    Augmentation(torch.tensor([[0, 0], [3, -2], [1, 4]]), torch.tensor([False, True, False])),
    Augmentation(torch.tensor([[-4, 1], [0, 0], [2, 2]]), torch.tensor([True, True, False])),
    Augmentation(torch.tensor([[2, 2], [1, 0], [-3, 0]]), torch.tensor([False, False, True])),
]
WEIGHTS = {"cross_entropy": 1.0, "total_variation": 1e-3}


def test_a_step_changes_every_kept_pixel_and_no_weight(teacher, state, take_step):
    before, weights = state.patches_BKCPQ.detach().clone(), teacher.weights_sha256()
    losses = take_step(teacher, state)
    assert set(losses) == {"cross_entropy", "total_variation"}
    assert all(loss.shape == (3,) and not loss.requires_grad for loss in losses.values())
    assert (state.patches_BKCPQ != before).float().mean() > 0.99  # the rest sits at the clamp
    assert teacher.weights_sha256() == weights
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_pixels_stay_within_what_an_image_file_can_hold(teacher, state, take_step):
    take_step(teacher, state)
    low, high = teacher.normalization.bounds(state.patches_BKCPQ)
    assert bool((state.patches_BKCPQ >= low).all()) and bool((state.patches_BKCPQ <= high).all())


class Remembering:
    """A move that keeps the gradient and moves nothing."""

    def update(self, inputs):
        self.gradient_BKCPQ, self.learning_rate = inputs.gradient_BKCPQ.clone(), inputs.learning_rate

    def keep(self, slots_BM, kept_BM):
        pass


def seen_in(teacher, views, learning_rate=0.1):
    """Losses of three images and what their move was told."""
    move = Remembering()
    state = TrajectoryState.start([0, 1, 2], [3, 1, 4], teacher.model.grid, seed=0, move=move)
    losses = inversion_step(
        teacher.model,
        state,
        views,
        loss_weights=WEIGHTS,
        normalization=teacher.normalization,
        learning_rate=learning_rate,
    )
    return losses, move


def test_several_views_give_the_mean_of_their_gradients_and_losses(teacher):
    losses, move = seen_in(teacher, VIEWS)
    alone = [seen_in(teacher, [view]) for view in VIEWS]
    gradients = torch.stack([each.gradient_BKCPQ for _, each in alone])
    assert not torch.allclose(gradients[0], gradients[1])
    torch.testing.assert_close(move.gradient_BKCPQ, gradients.mean(dim=0))
    for name in WEIGHTS:
        values = torch.stack([each[name] for each, _ in alone])
        torch.testing.assert_close(losses[name], values.mean(dim=0))
        assert losses[name].shape == (3,) and not losses[name].requires_grad


def test_the_same_view_twice_is_that_view_once(teacher):
    (once, first), (twice, second) = seen_in(teacher, VIEWS[:1]), seen_in(teacher, [VIEWS[0], VIEWS[0]])
    assert torch.equal(first.gradient_BKCPQ, second.gradient_BKCPQ)
    assert all(torch.equal(once[name], twice[name]) for name in WEIGHTS)


def test_the_move_is_told_the_learning_rate_of_the_step(teacher):
    assert seen_in(teacher, VIEWS[:1], learning_rate=0.07)[1].learning_rate == 0.07
