"""What every move does, how one is found, and how its options are read."""

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.inversion.moves.base import MOVES, MoveOption, read_options, register_move
from smi_hf.inversion.state import TrajectoryState
from smi_hf.patches import take_slots

NAMES = ["frequency", "growing", "low_pass", "pixels"]
SLOTS_BM = torch.tensor([[0, 1, 3, 5], [1, 2, 3, 4]])


def test_the_moves_are_these():
    assert MOVES.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_image_moves_the_same_in_any_batch(name, moving, noise, grid):
    together, alone = moving(name, grid), moving(name, grid, num_images=1)
    gradients = noise(grid)
    for step in range(24):
        if step == 12:
            together.keep(SLOTS_BM)
            alone.keep(SLOTS_BM[1:])
        gradient = take_slots(next(gradients), together.kept_BK)
        # What the other image's gradient is must not matter, however large.
        gradient[0] *= 1e6
        together.update(gradient)
        alone.update(gradient[1:])
    torch.testing.assert_close(together.patches[1:], alone.patches, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_pixels_by_about_the_learning_rate(name, moving, noise, grid):
    """As those of `pixels`: the root mean square of a change is the learning rate at first, whatever the gradient."""
    # Nothing to blur at the first step of low_pass, but what the step itself makes.
    options = ["strength=0"] if name == "low_pass" else []
    change = moving(name, grid, options=options).update(next(noise(grid)))
    assert float(change.square().mean(dim=(1, 2, 3, 4)).sqrt().sub(0.1).abs().max()) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_step_goes_downhill_and_half_the_learning_rate_half_as_far(name, moving, noise, grid):
    options = ["strength=0"] if name == "low_pass" else []
    gradient = next(noise(grid))
    change = moving(name, grid, options=options).update(gradient)
    assert bool(((change * gradient).sum(dim=(1, 2, 3, 4)) < 0).all())
    half = moving(name, grid, options=options).update(gradient, learning_rate=0.05)
    torch.testing.assert_close(2 * half, change, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gradient_a_flat_image_stays(name, moving, grid):
    flat = torch.tensor([0.3, -1.2])[:, None, None, None, None].double()
    images = moving(name, grid, start=flat)
    for _ in range(3):
        images.update(torch.zeros_like(images.patches))
    images.keep(SLOTS_BM)
    for _ in range(3):
        images.update(torch.zeros_like(images.patches))
    torch.testing.assert_close(images.patches, flat.expand_as(images.patches), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_remembered_of_patches_outlives_them(name, moving, noise, grid):
    """Gradients and pixels of patches that are about to go, changed as one likes, change no kept pixel afterwards."""
    ends = []
    for scale in (1.0, -1.0):
        # Of blur, no seam to a dropped patch: that its pixels were seen before it went is what it is for.
        images = moving(name, grid, options=["strength=0"] if name == "low_pass" else [])
        gradients = noise(grid)
        for _ in range(10):  # in the midst of growing's blocks of 2 pixels
            gradient = next(gradients)
            dropped = torch.ones(2, grid.num_patches, 1, 1, 1, dtype=torch.bool)
            dropped[torch.arange(2)[:, None], SLOTS_BM] = False
            images.update(torch.where(dropped, scale * gradient, gradient))
        images.keep(SLOTS_BM)
        start = images.patches.clone()
        for _ in range(5):
            images.update(take_slots(next(gradients), images.kept_BK))
        ends.append(images.patches - start)
    torch.testing.assert_close(*ends, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_after_a_prune_everything_has_as_many_patches_as_are_kept(name, teacher, take_step):
    grid = teacher.model.grid
    state = TrajectoryState.start([0, 1, 2], [3, 1, 4], grid, seed=0, move=_make(name, grid))
    for num_kept in (16, 11, 7):
        if num_kept < 16:
            state.keep(torch.arange(num_kept).expand(3, -1))
        for _ in range(2):
            take_step(teacher, state)
        assert state.patches_BKCPQ.shape == (3, num_kept, 3, 8, 8) and state.kept_BK.shape == (3, num_kept)
        assert state.patches_BKCPQ.requires_grad and state.patches_BKCPQ.is_leaf
        assert torch.isfinite(state.patches_BKCPQ).all()
        if adam := getattr(state.move, "adam", None):
            assert adam.first.shape[:2] == adam.second.shape[:2] == (3, num_kept)
    assert state.step == 6


def _make(name, grid):
    from smi_hf.inversion.moves.base import MoveSettings

    return MOVES.get(name).make(MoveSettings(grid, 6, options=read_options(name, ())))


def test_a_move_of_ones_own_is_found_by_its_name_and_the_step_moves_by_it(teacher, take_step):
    try:

        @register_move("still", factor=MoveOption(1.0, 0.5, 2.0))
        class Still:
            def __init__(self, settings):
                self.factor, self.seen = settings.options["factor"], []

            def update(self, inputs):
                self.seen.append((inputs.step, inputs.learning_rate, inputs.gradient_BKCPQ.shape))

            def keep(self, slots_BM, kept_BM):
                self.seen.append(kept_BM.tolist())

        grid = teacher.model.grid
        state = TrajectoryState.start([0, 1, 2], [3, 1, 4], grid, seed=0, move=_make("still", grid))
        low, high = teacher.normalization.bounds(state.patches_BKCPQ)
        before = state.patches_BKCPQ.detach().clamp(low, high)
        take_step(teacher, state)
        state.keep(torch.tensor([[0], [2], [4]]))
        assert torch.equal(state.patches_BKCPQ[2, 0], before[2, 4])
        assert state.move.seen == [(0, 0.25, (3, 16, 3, 8, 8)), [[0], [2], [4]]]
        assert read_options("still", ["factor=2"]) == {"factor": 2.0}
    finally:
        MOVES._entries.pop("still", None)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("pixel", [], r"there is no move 'pixel' \(did you mean 'pixels'\?\); available: frequency, growing"),
        ("pixels", ["x=1"], "the move 'pixels' has no option 'x'; it takes no options"),
        ("low_pass", ["strenth=1"], r"no option 'strenth' \(did you mean 'strength'\?\); it takes strength, width"),
        ("low_pass", ["strength=1.5"], "strength must be a number from 0 to 1, given as strength=0.1, but '1.5' was"),
        ("low_pass", ["width=0"], "width must be a number from 0.1 to 4, .* but '0' was given"),
        ("low_pass", ["strength"], "strength must be a number from 0 to 1, .* but '' was given"),
        ("growing", ["fine_from=nan"], "fine_from must be a number from 0 to 1, .* but 'nan' was given"),
        ("growing", ["fine_from=a=b"], "but 'a=b' was given"),
    ],
)
def test_a_wrong_move_or_option_is_answered_with_the_right_ones(name, words, message):
    with pytest.raises(UsageError, match=message):
        read_options(name, words)


def test_options_that_are_not_given_have_their_defaults():
    assert read_options("low_pass", ["width=2"]) == {"strength": 0.1, "width": 2.0}
    assert read_options("growing", []) == {"fine_from": 0.5}
