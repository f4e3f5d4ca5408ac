"""What is seen inside of a teacher: against what its modules do, for every family."""

from contextlib import contextmanager

import pytest
import torch
from family_cases import CASES

from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks
from smi_hf.models.watching import WATCHED, forward_watched

KEPT = [[0, 3, 5, 6], [15, 2, 1, 8]]


# A case of each family, and of each way to read an answer.
NAMES = [
    "vit", "deit", "vit_msn", "dinov2", "dinov2_with_registers", "dinov3_vit", "ijepa", "beit", "beit-shared-bias-cls",
    "data2vec_vision", "clip", "clip_vision_model", "siglip", "siglip_vision_model",
]  # fmt: skip


@pytest.fixture(params=NAMES)
def model(request, with_large_weights) -> SparseClassifier:
    torch.manual_seed(0)
    case = CASES[request.param]
    return case.wrap(with_large_weights(case.make())).freeze()


@pytest.fixture
def patches(model):
    kept_BK = torch.tensor(KEPT)
    pixels = torch.randn(2, 3, *model.grid.image_size, generator=torch.Generator().manual_seed(0))
    return model.grid.cut(pixels, kept_BK), kept_BK


@contextmanager
def calls_of(module):
    """Notes arguments and output of a module."""
    calls = []
    handle = module.register_forward_hook(
        lambda _, arguments, named, output: calls.append(
            (arguments[0] if arguments else named["hidden_states"], output[0] if isinstance(output, tuple) else output)
        ),
        with_kwargs=True,
    )
    yield calls
    handle.remove()


def num_hooks(model) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.model.modules())


def test_attention_is_that_of_the_stock_model_and_sums_to_1(model, patches):
    _, seen = forward_watched(model, *patches, ["attentions"])
    assert list(seen) == ["attentions"] and len(seen["attentions"]) == 2
    tokens = model.num_prefix_tokens + 4
    for attention in seen["attentions"]:
        assert attention.shape == (2, 3, tokens, tokens)
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 3, tokens))
    if model.family.reads_from(model.model) == "cls":
        expected = model.patch_attention(*patches)
        torch.testing.assert_close(seen["attentions"][-1][:, :, 0, -4:].mean(dim=1), expected, rtol=0, atol=0)


def test_heads_read_values_with_their_attention_and_are_mixed_by_the_layer_that_follows(model, patches):
    block = find_blocks(model)[1]
    attention = getattr(block, "attention", None) or block.self_attn
    with calls_of(attention) as calls:
        _, seen = forward_watched(model, *patches, ["attentions", "head_outputs"])
    (given, mixed), heads_BTHD = calls[0], seen["head_outputs"][1]
    assert len(seen["head_outputs"]) == 2
    value = attention.v_proj if hasattr(attention, "v_proj") else attention.attention.value
    values_BHTD = value(given).unflatten(2, (3, -1)).transpose(1, 2)
    # Two ways of rounding.
    torch.testing.assert_close(heads_BTHD, (seen["attentions"][1] @ values_BHTD).transpose(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.family.head_mixer(block)(heads_BTHD.flatten(2)), mixed)


def test_the_feature_is_what_the_answer_is_read_from_after_the_last_block(model, patches):
    with calls_of(find_blocks(model)[-1]) as calls:
        _, seen = forward_watched(model, *patches, ["features_BD"])
    tokens_BTD, num_prefix = calls[0][1], model.num_prefix_tokens
    reads_cls = model.family.reads_from(model.model) == "cls"
    expected_BD = tokens_BTD[:, 0] if reads_cls else tokens_BTD[:, num_prefix:].mean(dim=1)
    torch.testing.assert_close(seen["features_BD"], expected_BD, rtol=0, atol=0)


@pytest.mark.parametrize("wanted", [[], ["head_outputs"], ["features_BD"]])
def test_to_look_changes_no_bit_of_the_answer(model, patches, wanted):
    logits, _ = forward_watched(model, *patches, wanted)
    assert torch.equal(logits, model.forward_patches(*patches).logits)


def test_nothing_is_left_behind_even_by_an_error(model, patches):
    # transformers 5 leaves hooks of its own when attention is first asked for.
    forward_watched(model, *patches, ["attentions"])
    before = num_hooks(model), model.config._attn_implementation
    forward_watched(model, *patches, WATCHED)
    assert (num_hooks(model), model.config._attn_implementation) == before
    with pytest.raises(RuntimeError):
        forward_watched(model, patches[0][..., :4], patches[1], WATCHED)
    assert (num_hooks(model), model.config._attn_implementation) == before


def test_everything_that_is_seen_has_a_gradient_in_the_pixels(model, patches):
    leaf = patches[0].requires_grad_()
    _, seen = forward_watched(model, leaf, patches[1], WATCHED)
    assert set(seen) == set(WATCHED)
    for each in (*seen["attentions"], *seen["head_outputs"], seen["features_BD"]):
        (gradient,) = torch.autograd.grad(each.square().sum(), leaf, retain_graph=True)
        assert gradient.isfinite().all() and (gradient != 0).any()
