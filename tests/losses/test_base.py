"""What every loss term must be, and how terms are weighted."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from loss_cases import examples, loss_inputs, sparse_images

from smi_hf.errors import UsageError
from smi_hf.losses import LOSSES, LossInputs, register_loss, weighted_losses
from smi_hf.patches import PatchGrid


def one_image(inputs: LossInputs, image: int) -> LossInputs:
    one = slice(image, image + 1)
    tensors = ("logits_BL", "targets_B", "patches_BKCPQ", "kept_BK")
    return replace(inputs, **{name: getattr(inputs, name)[one] for name in tensors})


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
