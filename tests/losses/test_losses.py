"""Loss terms: against formulas, against a search over pixel pairs, and one image at a time."""

import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf.errors import UsageError
from smi_hf.losses import LOSSES, LossInputs, register_loss, weighted_losses
from smi_hf.patches import PatchGrid

# Derandomised: each run tries the same examples. No deadline: the machine may be busy.
examples = settings(max_examples=100, deadline=None, derandomize=True)


def loss_inputs(grid: PatchGrid, pixels_BCHW: torch.Tensor, kept_BK: torch.Tensor | None = None) -> LossInputs:
    B = len(pixels_BCHW)
    kept_BK = grid.all_patches(B) if kept_BK is None else kept_BK
    logits_BL = torch.randn(B, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return LossInputs(logits_BL, torch.arange(B) % 5, grid.cut(pixels_BCHW, kept_BK), kept_BK, grid)


@st.composite
def sparse_images(draw):
    """A grid, float64 images of its size, and a random kept set for each, in random order."""
    rows, columns, P, Q = draw(st.tuples(*[st.integers(1, 4)] * 4))
    grid = PatchGrid(rows * P, columns * Q, P, Q)
    B, K = draw(st.integers(1, 3)), draw(st.integers(1, grid.num_patches))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels_BCHW = torch.randn(B, 2, *grid.image_size, generator=generator, dtype=torch.float64)
    kept_BK = torch.rand(B, grid.num_patches, generator=generator).argsort(dim=1)[:, :K]
    return grid, pixels_BCHW, kept_BK


def one_image(inputs: LossInputs, image: int) -> LossInputs:
    one = slice(image, image + 1)
    tensors = ("logits_BL", "targets_B", "patches_BKCPQ", "kept_BK")
    return replace(inputs, **{name: getattr(inputs, name)[one] for name in tensors})


# Total variation


def dense_total_variation(pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """DeepInversion's four differences, with one norm an image."""
    differences = (
        pixels_BCHW[..., :-1] - pixels_BCHW[..., 1:],
        pixels_BCHW[..., :-1, :] - pixels_BCHW[..., 1:, :],
        pixels_BCHW[..., 1:, :-1] - pixels_BCHW[..., :-1, 1:],
        pixels_BCHW[..., :-1, :-1] - pixels_BCHW[..., 1:, 1:],
    )
    return sum(difference.flatten(1).norm(dim=1) for difference in differences)


@examples
@given(sparse_images())
def test_total_variation_with_every_patch_kept_is_that_of_the_whole_image(case):
    grid, pixels_BCHW, _ = case
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_BCHW))
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, dense_total_variation(pixels_BCHW), rtol=1e-12, atol=1e-12)


def total_variation_by_search(grid: PatchGrid, pixels_CHW: torch.Tensor, kept: list[int]) -> torch.Tensor:
    """The sum over four directions of the norm over all pairs of kept pixels, sought pair by pair; differentiable."""

    def is_kept(y: int, x: int) -> bool:
        inside = y < grid.image_height and x < grid.image_width
        return inside and y // grid.patch_height * grid.columns + x // grid.patch_width in kept

    pairs = {"right": [], "down": [], "diagonal": [], "anti-diagonal": []}
    for y in range(grid.image_height):
        for x in range(grid.image_width):
            if not is_kept(y, x):
                continue
            for name, other in (("right", (y, x + 1)), ("down", (y + 1, x)), ("diagonal", (y + 1, x + 1))):
                if is_kept(*other):
                    pairs[name].append(((y, x), other))
            # The anti-diagonal pair hangs on its upper left pixel, which has to be kept as well.
            if is_kept(y, x + 1) and is_kept(y + 1, x):
                pairs["anti-diagonal"].append(((y, x + 1), (y + 1, x)))
    norms = [0 * pixels_CHW.sum()]  # no pair at all: no loss, and no gradient
    for direction in pairs.values():
        if direction:
            places = torch.tensor(direction)  # pair, end, (y, x)
            ends = [pixels_CHW[:, places[:, end, 0], places[:, end, 1]] for end in (0, 1)]
            norms.append((ends[0] - ends[1]).norm())
    return sum(norms)


@examples
@given(sparse_images(), st.floats(-3, 3))
def test_total_variation_and_its_gradient_count_exactly_the_pairs_of_pixels_that_are_kept(case, weight):
    grid, pixels_BCHW, kept_BK = case
    pixels_BCHW.requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_BCHW, kept_BK))
    expected_B = torch.stack(
        [total_variation_by_search(grid, pixels_CHW, kept) for pixels_CHW, kept in zip(pixels_BCHW, kept_BK.tolist())]
    )
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, expected_B, rtol=1e-12, atol=1e-12)
    # Each image with a weight of its own.
    weight_B = weight + torch.arange(len(pixels_BCHW))
    found_BCHW, expected_BCHW = (
        torch.autograd.grad((weight_B * total_B).sum(), pixels_BCHW, allow_unused=True)[0]
        for total_B in (found_B, expected_B)
    )
    expected_BCHW = torch.zeros_like(pixels_BCHW) if expected_BCHW is None else expected_BCHW
    torch.testing.assert_close(found_BCHW, expected_BCHW, rtol=1e-10, atol=1e-10)
    assert (grid.cut(found_BCHW)[grid.slots(kept_BK) < 0] == 0).all()


@pytest.mark.parametrize(
    ("kept", "num_pairs"),
    [
        ([0, 1, 2, 3], 1),
        ([0, 1, 2], 1),  # the upper left patch carries the pair
        ([1, 2, 3], 0),  # it is pruned, and the pair with it
        ([1, 2], 0),
    ],
)
def test_an_anti_diagonal_pair_across_a_corner_wants_the_patch_above_it_too(kept, num_pairs):
    """Patches of one pixel: only the two pixels of the anti-diagonal differ from the others."""
    grid = PatchGrid(2, 2, 1, 1)
    pixels_1CHW = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    pixels_1CHW[0, 0, 0, 1], pixels_1CHW[0, 0, 1, 0] = 3.0, -3.0
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_1CHW, torch.tensor([kept])))
    right_pairs = [(0, 1), (2, 3)]
    down_pairs = [(0, 2), (1, 3)]
    straight = sum(
        3 * math.sqrt(sum(one in kept and other in kept for one, other in pairs))
        for pairs in (right_pairs, down_pairs)
    )
    assert float(found_B) == pytest.approx(straight + 6 * num_pairs)


def test_patches_that_do_not_touch_have_no_seam_to_smooth():
    grid = PatchGrid(3, 3, 1, 1)
    pixels_1CHW = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, pixels_1CHW, torch.tensor([[0, 2, 7]])))
    assert found_B.item() == 0
    (gradient,) = torch.autograd.grad(found_B.sum(), pixels_1CHW)
    assert (gradient == 0).all()


def test_the_gradient_of_total_variation_is_that_of_finite_differences():
    grid = PatchGrid(4, 6, 2, 2)
    kept_BK = torch.tensor([[0, 1, 4], [5, 3, 1]])
    generator = torch.Generator().manual_seed(0)
    pixels_BCHW = torch.randn(2, 1, 4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda pixels: LOSSES.get("total_variation")(loss_inputs(grid, pixels, kept_BK)), pixels_BCHW
    )


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("name", ["total_variation", "l2"])
def test_a_flat_image_has_a_finite_loss_and_gradient(name, value):
    grid = PatchGrid(8, 8, 4, 4)
    pixels_BCHW = torch.full((2, 3, 8, 8), value).requires_grad_()
    found_B = LOSSES.get(name)(loss_inputs(grid, pixels_BCHW, torch.tensor([[0, 1], [3, 2]])))
    (gradient,) = torch.autograd.grad(found_B.sum(), pixels_BCHW)
    assert found_B.isfinite().all()
    assert gradient.isfinite().all()
    if name == "total_variation" or value == 0:
        assert (found_B == 0).all()
        assert (gradient == 0).all()


def test_a_flat_image_does_not_change_the_gradient_of_its_neighbour_in_the_batch():
    grid = PatchGrid(8, 8, 4, 4)
    noisy_1CHW = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch_BCHW = torch.cat([torch.zeros(1, 3, 8, 8), noisy_1CHW]).requires_grad_()
    found_B = LOSSES.get("total_variation")(loss_inputs(grid, batch_BCHW))
    (gradient_BCHW,) = torch.autograd.grad(found_B.sum(), batch_BCHW)
    assert (gradient_BCHW[0] == 0).all()
    assert (gradient_BCHW[1] != 0).any()


# Cross entropy and L2


def test_cross_entropy_is_minus_the_log_probability_of_the_target():
    logits_BL = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    inputs = LossInputs(
        logits_BL, torch.tensor([0, 2]), torch.zeros(2, 1, 3, 2, 2), torch.zeros(2, 1).long(), PatchGrid(2, 2, 2, 2)
    )
    expected = [-math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1))), math.log(3)]
    assert LOSSES.get("cross_entropy")(inputs).tolist() == pytest.approx(expected)


def test_cross_entropy_of_half_precision_logits_is_computed_in_float32():
    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.zeros(2, 3, 8, 8))
    half = replace(inputs, logits_BL=inputs.logits_BL.bfloat16())
    found_B = LOSSES.get("cross_entropy")(half)
    assert found_B.dtype == torch.float32
    again_B = LOSSES.get("cross_entropy")(replace(inputs, logits_BL=half.logits_BL.float()))
    assert torch.equal(found_B, again_B)


@examples
@given(sparse_images())
def test_l2_is_the_length_of_the_kept_pixels(case):
    grid, pixels_BCHW, kept_BK = case
    found_B = LOSSES.get("l2")(loss_inputs(grid, pixels_BCHW, kept_BK))
    blackened_BCHW = grid.paste(grid.cut(pixels_BCHW, kept_BK), kept_BK)
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, blackened_BCHW.square().sum(dim=(1, 2, 3)).sqrt(), rtol=1e-12, atol=0)


# Every term


def test_the_built_in_terms_are_these():
    assert LOSSES.names() == ["cross_entropy", "l2", "total_variation"]


@examples
@given(sparse_images())
def test_an_images_loss_and_gradient_are_the_same_alone_and_in_a_batch(case):
    grid, pixels_BCHW, kept_BK = case
    inputs = loss_inputs(grid, pixels_BCHW, kept_BK)
    for leaf in (inputs.patches_BKCPQ, inputs.logits_BL):
        leaf.requires_grad_()
    for name in LOSSES.names():
        found_B = LOSSES.get(name)(inputs)
        assert found_B.shape == (len(pixels_BCHW),)
        for image in range(len(pixels_BCHW)):
            alone = one_image(inputs, image)
            # Float32 rounding of the cross entropy; the other two are float64.
            torch.testing.assert_close(LOSSES.get(name)(alone), found_B[image : image + 1], rtol=1e-6, atol=1e-6)
            gradients = torch.autograd.grad(
                found_B[image], (inputs.patches_BKCPQ, inputs.logits_BL), retain_graph=True, allow_unused=True
            )
            for gradient in gradients:
                others = [other for other in range(len(pixels_BCHW)) if other != image]
                assert gradient is None or (gradient[others] == 0).all()


def test_terms_are_multiplied_by_their_weights():
    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    losses = weighted_losses(inputs, {"cross_entropy": 1.0, "total_variation": 0.25, "l2": 2})
    assert list(losses) == ["cross_entropy", "total_variation", "l2"]
    assert torch.equal(losses["cross_entropy"], LOSSES.get("cross_entropy")(inputs))
    assert torch.equal(losses["total_variation"], 0.25 * LOSSES.get("total_variation")(inputs))
    assert torch.equal(losses["l2"], 2 * LOSSES.get("l2")(inputs))


@pytest.fixture
def own_terms():
    """Registers terms of the test's own, for as long as the test lasts."""
    before = dict(LOSSES._entries)
    yield register_loss
    LOSSES._entries.clear()
    LOSSES._entries.update(before)


def test_a_term_of_ones_own_is_weighted_like_the_others(own_terms):
    @own_terms("brightness")
    def brightness(inputs: LossInputs) -> torch.Tensor:
        return inputs.patches_BKCPQ.flatten(1).mean(dim=1)

    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.full((2, 3, 8, 8), 0.5))
    losses = weighted_losses(inputs, {"brightness": 3.0})
    assert losses["brightness"].tolist() == [1.5, 1.5]
    assert "brightness" in LOSSES.names()


def test_a_term_of_weight_zero_is_not_computed(own_terms):
    @own_terms("costly")
    def costly(inputs: LossInputs) -> torch.Tensor:
        raise AssertionError("a term of weight 0 was computed")

    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.zeros(1, 3, 8, 8))
    assert list(weighted_losses(inputs, {"cross_entropy": 1.0, "costly": 0.0})) == ["cross_entropy"]


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_an_unknown_term_is_answered_with_the_nearest_one_whatever_its_weight(weight):
    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.zeros(1, 3, 8, 8))
    message = (
        "there is no loss term 'total_variance' (did you mean 'total_variation'?); "
        "available: cross_entropy, l2, total_variation"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        weighted_losses(inputs, {"cross_entropy": 1.0, "total_variance": weight})
