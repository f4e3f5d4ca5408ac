"""What every loss term must be, and how terms are weighted."""

import re
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from loss_cases import (
    examples,
    leaves,
    loss_inputs,
    one_image,
    small_inputs,
    sparse_images,
    with_everything,
)

from smi_hf.errors import UsageError
from smi_hf.losses import LOSSES, LossInputs, describe_terms, needs_of, register_loss, weighted_losses
from smi_hf.losses.base import NEEDS
from smi_hf.patches import PatchGrid

TERMS = [
    "attention_prior", "batch_norm", "contrast", "cross_entropy", "disagreement", "head_similarity", "l2",
    "patch_seams", "psaq_entropy", "psaq_gaussian", "soft_labels", "total_variation", "tv_l1",
]  # fmt: skip


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("name", ["total_variation", "l2", "tv_l1", "patch_seams"])
def test_a_flat_image_has_a_finite_loss_and_gradient(name, value):
    grid = PatchGrid(8, 8, 4, 4)
    pixels_BCHW = torch.full((2, 3, 8, 8), value).requires_grad_()
    found_B = LOSSES.get(name)(loss_inputs(grid, pixels_BCHW, torch.tensor([[0, 1], [3, 2]])))
    (gradient,) = torch.autograd.grad(found_B.sum(), pixels_BCHW)
    assert found_B.isfinite().all()
    assert gradient.isfinite().all()
    if name != "l2" or value == 0:
        assert (found_B == 0).all()
        assert (gradient == 0).all()


def test_the_built_in_terms_are_these():
    assert LOSSES.names() == TERMS


@settings(examples, max_examples=25)
@given(sparse_images())
def test_an_images_loss_and_gradient_are_the_same_alone_and_in_a_batch(case):
    grid, pixels_BCHW, kept_BK = case
    inputs = with_everything(loss_inputs(grid, pixels_BCHW, kept_BK))
    for name in TERMS:
        found_B = LOSSES.get(name)(inputs)
        assert found_B.shape == (len(pixels_BCHW),)
        for image in range(len(pixels_BCHW)):
            alone = one_image(inputs, image)
            # Float32 rounding of the cross entropy; the other two are float64.
            torch.testing.assert_close(LOSSES.get(name)(alone), found_B[image : image + 1], rtol=1e-6, atol=1e-6)
            gradients = torch.autograd.grad(found_B[image], leaves(inputs), retain_graph=True, allow_unused=True)
            assert any(gradient is not None for gradient in gradients)
            for gradient in gradients:
                others = [other for other in range(len(pixels_BCHW)) if other != image]
                assert gradient is None or (gradient[others] == 0).all()
                assert gradient is None or gradient.isfinite().all()


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
        f"there is no loss term 'total_variance' (did you mean 'total_variation'?); available: {', '.join(TERMS)}"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        weighted_losses(inputs, {"cross_entropy": 1.0, "total_variance": weight})


def test_a_term_sees_what_it_asks_for_and_fails_without_it():
    inputs = small_inputs()
    optional = set(NEEDS)
    for name in TERMS:
        term = LOSSES.get(name)
        without = replace(inputs, **dict.fromkeys(optional - set(term.needs)))
        assert torch.equal(term(without), term(inputs)), name
        for need in term.needs:
            with pytest.raises((TypeError, AttributeError, AssertionError)):
                term(replace(inputs, **{need: None}))


def test_what_can_be_asked_for_are_fields_that_are_none_by_themselves():
    defaults = {field.name: field.default for field in fields(LossInputs)}
    assert all(defaults[need] is None for need in NEEDS)


def test_what_is_needed_is_what_terms_of_some_weight_ask_for(own_terms):
    own_terms("looks", needs=("attentions", "features_BD"))(lambda inputs: inputs.features_BD.sum(dim=1))
    own_terms("plain")(lambda inputs: inputs.logits_BL.sum(dim=1))
    assert needs_of({"looks": 0.0, "plain": 1.0, "cross_entropy": 1.0}) == frozenset()
    assert needs_of({"looks": 0.1, "plain": 1.0}) == {"attentions", "features_BD"}


def test_a_need_that_there_is_not_is_found_when_the_term_is_registered():
    with pytest.raises(AssertionError, match="needs \\['atention'\\], but a term can ask for attentions, "):
        register_loss("looks", needs=("atention",))


def test_every_term_of_ours_names_its_source_and_a_record_gets_it(own_terms):
    assert all("arXiv" in LOSSES.get(name).source for name in TERMS)
    own_terms("plain")(lambda inputs: inputs.logits_BL.sum(dim=1))
    assert describe_terms({"l2": 0.5, "tv_l1": 0.0, "plain": 1.0}) == [
        {"name": "l2", "weight": 0.5, "source": LOSSES.get("l2").source},
        {"name": "plain", "weight": 1.0, "source": None},
    ]


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_half_precision_are_computed_in_float32(name):
    inputs = small_inputs()

    def halved(value, dtype):
        if isinstance(value, tuple):
            return tuple(halved(each, dtype) for each in value)
        is_seen = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().bfloat16().to(dtype) if is_seen else value

    # What autocast gives; pixels, memory and statistics are float32.
    names = ("logits_BL", "attentions", "head_outputs", "features_BD", "student_logits_BL")
    half, single = (
        replace(
            inputs,
            patches_BKCPQ=inputs.patches_BKCPQ.detach().float(),
            memory_MD=inputs.memory_MD.float(),
            **{field: halved(getattr(inputs, field), dtype) for field in names},
        )
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert torch.equal(LOSSES.get(name)(half), LOSSES.get(name)(single))
    assert LOSSES.get(name)(half).dtype == torch.float32 or name == "batch_norm"
