"""One step: what it changes and leaves alone, what views make of it, and that a term that is off costs nothing."""

import pytest
import torch
from torch.nn import functional as F

from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.step import inversion_step
from smi_hf.inversion.trajectory import run_trajectory
from smi_hf.losses import LOSSES, LossInputs, needs_of
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


def test_a_plain_step_is_bit_for_bit_the_forward_pass_two_losses_and_adam(teacher, state, take_step):
    pixels = state.patches_BKCPQ.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.25, betas=(0.5, 0.99), fused=True)
    for _ in range(3):
        take_step(teacher, state)
        logits = teacher.model.forward_patches(pixels, state.kept_BK).logits
        loss_B = F.cross_entropy(logits, state.targets_B, reduction="none")
        loss_B = loss_B + 1e-3 * LOSSES.get("total_variation")(_seen(pixels, state))
        (pixels.grad,) = torch.autograd.grad(loss_B.sum(), pixels)
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(*teacher.normalization.bounds(pixels))
    assert torch.equal(state.patches_BKCPQ, pixels)


def _seen(pixels, state):
    return LossInputs(torch.zeros(3, 5), state.targets_B, pixels, state.kept_BK, state.grid)


@pytest.fixture
def cost(teacher, monkeypatch):
    """Counts what a term may ask of a teacher in a short run: hooks, changes of attention, outputs asked for."""

    def of(config) -> dict[str, int]:
        counts = {"hooks": 0, "attention": 0, "arguments": 0, "passes": 0}
        # The policy's own look at attention is not a term's.
        monkeypatch.setattr(
            type(teacher.model), "patch_attention", lambda self, patches, kept: torch.rand(kept.shape), raising=True
        )
        before = {
            name: getattr(torch.nn.Module, name) for name in ("register_forward_hook", "register_forward_pre_hook")
        }
        for name, method in before.items():

            def counted(*arguments, _method=method, **options):
                counts["hooks"] += 1
                return _method(*arguments, **options)

            monkeypatch.setattr(torch.nn.Module, name, counted)
        attend, look = teacher.model.model.set_attn_implementation, teacher.model.forward_tokens

        def set_attention(*arguments):
            counts["attention"] += 1
            return attend(*arguments)

        def forward_tokens(*arguments, **options):
            counts["passes"] += 1
            counts["arguments"] += len(options.keys() - {"through"})
            return look(*arguments, **options)

        monkeypatch.setattr(teacher.model.model, "set_attn_implementation", set_attention)
        monkeypatch.setattr(teacher.model, "forward_tokens", forward_tokens)
        run_trajectory(teacher, config, [0, 1], [2, 3])
        return counts

    return of


# Eight steps, and a look at the finished images.
PLAIN = {"hooks": 0, "attention": 0, "arguments": 0, "passes": 9}


@pytest.mark.parametrize("weights", [None, ["attention_prior=0", "psaq_entropy=0"], ["tv_l1=1", "soft_labels=1"]])
def test_a_run_in_which_no_term_asks_for_more_computes_no_more(cost, config, weights):
    assert cost(config(loss_weights=weights)) == PLAIN


@pytest.mark.parametrize(
    ("term", "changes"),
    [
        ("attention_prior", {"attention": 16, "arguments": 8}),  # to eager and back
        ("psaq_entropy", {"hooks": 16}),  # in two blocks
    ],
)
def test_a_term_that_asks_for_more_is_counted_so_that_the_test_before_could_fail(cost, config, term, changes):
    counts = cost(config(loss_weights=[f"{term}=1"]))
    assert {name: counts[name] for name in changes} == changes
    assert counts["passes"] == PLAIN["passes"]


def test_a_term_of_weight_0_changes_no_bit(teacher, config):
    off = [f"{name}=0" for name in LOSSES.names() if needs_of({name: 1})]
    plain, without = (run_trajectory(teacher, config(loss_weights=weights), [0, 1], [2, 3]) for weights in (None, off))
    assert (plain.patches_BKCPQ == without.patches_BKCPQ).all()
    assert (plain.target_probability_B == without.target_probability_B).all()
