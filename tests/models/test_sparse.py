"""The sparse forward of every family: against the stock model, and against what pruning promises."""

import math
import shutil
from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from family_cases import ALIASES, CASES, FamilyCase, case_of
from family_cases import classifier as classifier_of
from torch import Tensor
from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification

from smi_hf.environment import package_version
from smi_hf.errors import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks
from smi_hf.models.families.base import FAMILIES, ViTFamily

# Models here compute in float64, but eager attention takes its softmax in float32: up to 6e-7 was seen. A misplaced
# token does far more to the logits. `test_in_float32_...` repeats the main invariant in the precision that is used.
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def make_model(with_large_weights) -> Callable[..., PreTrainedModel]:
    def make(case: FamilyCase, attention: str = "sdpa", dtype: torch.dtype = torch.float64) -> PreTrainedModel:
        torch.manual_seed(0)
        model = with_large_weights(case.make()).to(dtype)
        if case.family == "timm_wrapper":
            for module in model.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = attention == "sdpa"
        elif type(model)._can_set_attn_implementation():
            model.set_attn_implementation(attention)
        return model

    return make


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request) -> FamilyCase:
    return request.param


@pytest.fixture(params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture
def classifier(case, attention, make_model) -> SparseClassifier:
    return case.wrap(make_model(case, attention))


def images_for(classifier: SparseClassifier, *, num_images: int = 2, num_kept: int = 6) -> tuple[Tensor, Tensor]:
    """Random images, and for each a random choice of patches in random order."""
    generator = torch.Generator().manual_seed(1)
    pixels_BCHW = torch.randn(num_images, 3, *classifier.grid.image_size, generator=generator)
    pixels_BCHW = pixels_BCHW.to(next(classifier.parameters()).dtype)
    order_BN = torch.rand(num_images, classifier.grid.num_patches, generator=generator).argsort(dim=1)
    return pixels_BCHW, order_BN[:, :num_kept]


def rounding_by_freezing(classifier: SparseClassifier) -> dict[str, float]:
    """Without gradients to weights PyTorch takes other kernels for a pooling query and for a bias of attention."""
    is_plain = classifier.takes_any_tokens and classifier.family.reads_from(classifier.model) != "query"
    return {"rtol": 0, "atol": 0} if is_plain else ROUNDING


def assert_nothing_is_bypassed(classifier: SparseClassifier) -> None:
    """transformers 4 leaves marks of its own, on other modules, where attentions were asked for."""
    family, model = classifier.family, classifier.model
    positions = [each.module for each in family.positions(model, classifier.grid)]
    for module in (classifier.embeddings, family.find_projection(model), *positions):
        assert "forward" not in vars(module), type(module).__name__


def stock_forward(classifier: SparseClassifier, pixels_BCHW: Tensor, **arguments: object):
    """The stock model on whole images."""
    resized = classifier.grid.image_size != classifier.family.native_grid(classifier.model).image_size
    # DINO interpolates unasked and knows no such argument.
    if resized and not classifier.config.model_type.startswith("dino"):
        arguments["interpolate_pos_encoding"] = True
    return classifier.answered(classifier.model(pixel_values=pixels_BCHW, **arguments))


def test_every_family_has_a_case():
    without_timm = set() if package_version("timm") else {"timm_wrapper"}
    assert {case.family for case in CASES.values()} | set(ALIASES) | without_timm == set(FAMILIES.names())


@pytest.mark.parametrize("name", ["vit", "deit", "vit_msn", "dinov2", "ijepa", "beit"])
def test_a_plain_family_needs_no_entry_to_be_tested(name, make_model):
    """To add a family is to add its file: the case that is made for it works for those that there are."""
    case = case_of(name)
    classifier = case.wrap(make_model(case)).freeze()
    classifier.verify()
    assert classifier.num_prefix_tokens == case.num_prefix


@torch.no_grad()
def test_with_every_patch_kept_it_is_the_stock_model(classifier):
    pixels_BCHW, _ = images_for(classifier)
    dense_BL = stock_forward(classifier, pixels_BCHW).logits
    every_BN = classifier.grid.all_patches(2)
    torch.testing.assert_close(classifier(pixels_BCHW).logits, dense_BL, **ROUNDING)
    torch.testing.assert_close(classifier(pixels_BCHW, every_BN).logits, dense_BL, **ROUNDING)
    classifier.verify()


@torch.no_grad()
def test_in_float32_it_is_the_stock_model_but_for_rounding(case, attention, make_model):
    classifier = case.wrap(make_model(case, attention, torch.float32)).freeze()
    pixels_BCHW, _ = images_for(classifier)
    # Logits reach 10, and two layers of large weights amplify a rounding of 6e-8: up to 1.3e-5 was seen.
    torch.testing.assert_close(
        classifier(pixels_BCHW).logits, stock_forward(classifier, pixels_BCHW).logits, rtol=1e-5, atol=5e-5
    )
    classifier.verify()


@torch.no_grad()
def test_with_patches_pruned_it_is_the_stock_model_without_their_tokens(classifier):
    if not classifier.takes_any_tokens:
        pytest.skip("what is behind the embeddings knows positions: tokens cannot be left out by themselves")
    pixels_BCHW, kept_BK = images_for(classifier)
    num_prefix = classifier.num_prefix_tokens

    def take_out_pruned(module, arguments, found: Tensor) -> Tensor:
        tokens_BTD = found[0] if isinstance(found, tuple) else found
        kept_BTD = without_pruned(tokens_BTD)
        return (kept_BTD, *found[1:]) if isinstance(found, tuple) else kept_BTD

    def without_pruned(tokens_BTD: Tensor) -> Tensor:
        patches_BND = tokens_BTD[:, num_prefix:]
        kept_BKD = torch.stack([patches_ND[kept_K] for patches_ND, kept_K in zip(patches_BND, kept_BK)])
        return torch.cat([tokens_BTD[:, :num_prefix], kept_BKD], dim=1)

    handle = classifier.embeddings.register_forward_hook(take_out_pruned)
    expected_BL = stock_forward(classifier, pixels_BCHW).logits
    handle.remove()
    sparse_BL = classifier(pixels_BCHW, kept_BK).logits
    torch.testing.assert_close(sparse_BL, expected_BL, **ROUNDING)
    # And the pruned patches did say something.
    assert (sparse_BL - stock_forward(classifier, pixels_BCHW).logits).abs().max() > 0.1


@contextmanager
def nobody_attends_to(pruned_BT: Tensor, monkeypatch):
    """While it lasts, every softmax of attention gives nothing to the tokens that are marked."""
    softmax = Tensor.softmax

    def masked(scores, *args, **kwargs):
        if scores.ndim == 4 and scores.shape[-1] == pruned_BT.shape[1]:
            scores = scores.masked_fill(pruned_BT[:, None, None, :], -math.inf)
        return softmax(scores, *args, **kwargs)

    with monkeypatch.context() as patches:
        # Which that of `torch.nn.functional` calls.
        patches.setattr(Tensor, "softmax", masked)
        yield


@contextmanager
def last_tokens(classifier: SparseClassifier):
    """While it lasts, what leaves the last block is appended."""
    seen: list[Tensor] = []
    handle = find_blocks(classifier)[-1].register_forward_hook(
        lambda module, inputs, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    yield seen
    handle.remove()


@torch.no_grad()
def test_with_patches_pruned_the_others_are_as_if_nobody_attended_to_those(case, make_model, monkeypatch):
    """Also where positions enter behind the embeddings: attention without some keys is attention among the rest."""
    classifier = case.wrap(make_model(case, "eager"))
    pixels_BCHW, kept_BK = images_for(classifier)
    num_prefix = classifier.num_prefix_tokens
    is_pruned_BN = classifier.grid.slots(kept_BK) < 0
    pruned_BT = torch.cat([torch.zeros(2, num_prefix, dtype=bool), is_pruned_BN], dim=1)
    with last_tokens(classifier) as seen:
        with (
            classifier.family.attentions_seen(classifier.model) as (asked, _),
            nobody_attends_to(pruned_BT, monkeypatch),
        ):
            stock_forward(classifier, pixels_BCHW, **asked)
        classifier(pixels_BCHW, kept_BK)
    dense, sparse = seen
    patches_BKD = torch.stack([tokens[num_prefix:][kept_K] for tokens, kept_K in zip(dense, kept_BK)])
    torch.testing.assert_close(sparse[:, num_prefix:], patches_BKD, **ROUNDING)
    torch.testing.assert_close(sparse[:, :num_prefix], dense[:, :num_prefix], **ROUNDING)


def test_prefix_tokens_and_channels_are_counted(case, classifier):
    assert classifier.num_prefix_tokens == case.num_prefix
    assert classifier.freeze().num_prefix_tokens == case.num_prefix
    assert classifier.num_channels == 3


@torch.no_grad()
def test_hidden_states_have_a_token_for_each_prefix_and_kept_patch(case, classifier):
    pixels_BCHW, kept_BK = images_for(classifier, num_kept=6)
    with last_tokens(classifier) as seen:
        classifier(pixels_BCHW, kept_BK)
    assert seen[0].shape == (2, case.num_prefix + 6, 24)


@torch.no_grad()
def test_the_order_of_kept_patches_does_not_matter_as_tokens_carry_their_positions(classifier):
    pixels_BCHW, kept_BK = images_for(classifier)
    logits_BL = classifier(pixels_BCHW, kept_BK).logits
    torch.testing.assert_close(classifier(pixels_BCHW, kept_BK.flip(1)).logits, logits_BL, **ROUNDING)
    # The same pixels at other places are another image.
    patches_BKCPQ = classifier.grid.cut(pixels_BCHW, kept_BK)
    moved_BL = classifier.forward_patches(patches_BKCPQ, kept_BK.flip(1)).logits
    assert (moved_BL - logits_BL).abs().max() > 0.01


@torch.no_grad()
def test_an_images_logits_do_not_depend_on_its_batch(classifier):
    pixels_BCHW, kept_BK = images_for(classifier, num_images=3)
    together_BL = classifier(pixels_BCHW, kept_BK).logits
    for image in range(3):
        one = slice(image, image + 1)
        torch.testing.assert_close(classifier(pixels_BCHW[one], kept_BK[one]).logits, together_BL[one], **ROUNDING)


def test_pruned_pixels_get_exactly_no_gradient_and_kept_ones_get_some(classifier):
    pixels_BCHW, kept_BK = images_for(classifier.freeze())
    pixels_BCHW.requires_grad_()
    classifier(pixels_BCHW, kept_BK).logits.logsumexp(dim=1).sum().backward()
    gradient_BNCPQ = classifier.grid.cut(pixels_BCHW.grad)
    is_kept_BN = classifier.grid.slots(kept_BK) >= 0
    assert (gradient_BNCPQ[~is_kept_BN] == 0).all()
    assert (gradient_BNCPQ[is_kept_BN] != 0).flatten(1).any(dim=1).all()


@torch.no_grad()
def test_pruned_pixels_do_not_reach_the_logits_at_all(classifier):
    pixels_BCHW, kept_BK = images_for(classifier)
    poisoned_BCHW = classifier.grid.paste(classifier.grid.cut(pixels_BCHW, kept_BK), kept_BK, fill=math.nan)
    assert poisoned_BCHW.isnan().any()
    assert torch.equal(classifier(poisoned_BCHW, kept_BK).logits, classifier(pixels_BCHW, kept_BK).logits)


@torch.no_grad()
def test_patch_attention_is_that_of_the_stock_models_last_block(case, classifier, attention):
    source = classifier.family.reads_from(classifier.model)
    if source == "query" or case.family == "timm_wrapper":
        pytest.skip("see tests/models/families/test_siglip.py and test_timm_wrapper.py")
    pixels_BCHW, _ = images_for(classifier)
    before = classifier.config._attn_implementation
    found_BN = classifier.patch_attention(classifier.grid.cut(pixels_BCHW), classifier.grid.all_patches(2))
    assert classifier.config._attn_implementation == before

    with classifier.family.attentions_seen(classifier.model) as (asked, _):
        maps_BHTT = stock_forward(classifier, pixels_BCHW, **asked).attentions[-1]
    of_patches_BHTN = maps_BHTT[..., case.num_prefix :]
    expected_BN = of_patches_BHTN[:, :, 0].mean(dim=1) if source == "cls" else of_patches_BHTN.mean(dim=(1, 2))
    # Scores are float32, whatever the model computes in.
    torch.testing.assert_close(found_BN, expected_BN.float(), rtol=1e-6, atol=1e-6)


def test_patch_attention_ranks_kept_patches_alone_and_leaves_the_attention_as_it_was(classifier):
    implementation = classifier.config._attn_implementation
    pixels_BCHW, kept_BK = images_for(classifier)
    pixels_BCHW.requires_grad_()
    before_BL = classifier(pixels_BCHW, kept_BK).logits
    found_BK = classifier.patch_attention(classifier.grid.cut(pixels_BCHW, kept_BK), kept_BK)
    assert found_BK.shape == kept_BK.shape
    assert found_BK.dtype == torch.float32
    assert not found_BK.requires_grad
    assert (found_BK >= 0).all()
    # Of a softmax: the prefix tokens have the rest, if there are any.
    total_B = found_BK.sum(dim=1)
    assert (total_B < 1).all() if classifier.num_prefix_tokens else torch.allclose(total_B, torch.ones(2))
    assert classifier.config._attn_implementation == implementation
    assert torch.equal(classifier(pixels_BCHW, kept_BK).logits, before_BL)
    # In the order of the kept list.
    flipped_BK = classifier.patch_attention(classifier.grid.cut(pixels_BCHW, kept_BK.flip(1)), kept_BK.flip(1))
    torch.testing.assert_close(flipped_BK.flip(1), found_BK, rtol=1e-6, atol=1e-6)


def test_the_stock_model_works_afterwards_as_before(classifier):
    pixels_BCHW, kept_BK = images_for(classifier)
    model = classifier.model
    keys_before = list(model.state_dict())
    weights_before = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits_before_BL = stock_forward(classifier, pixels_BCHW).logits
    classifier(pixels_BCHW, kept_BK)
    classifier.patch_attention(classifier.grid.cut(pixels_BCHW, kept_BK), kept_BK)
    classifier.freeze()
    classifier(pixels_BCHW, kept_BK)
    assert list(model.state_dict()) == keys_before
    assert all(torch.equal(weight, weights_before[name]) for name, weight in model.state_dict().items())
    assert_nothing_is_bypassed(classifier)
    after_BL = stock_forward(classifier, pixels_BCHW).logits
    torch.testing.assert_close(after_BL, logits_before_BL, **rounding_by_freezing(classifier))


def test_the_stock_model_works_after_a_forward_that_failed(classifier):
    implementation = classifier.config._attn_implementation
    pixels_BCHW, kept_BK = images_for(classifier)
    logits_before_BL = stock_forward(classifier, pixels_BCHW).logits

    def interrupt(module, arguments):
        raise KeyboardInterrupt

    handle = find_blocks(classifier)[-1].register_forward_pre_hook(interrupt)
    patches_BKCPQ = classifier.grid.cut(pixels_BCHW, kept_BK)
    with pytest.raises(KeyboardInterrupt):
        classifier.forward_patches(patches_BKCPQ, kept_BK)
    with pytest.raises(KeyboardInterrupt):
        classifier.patch_attention(patches_BKCPQ, kept_BK)
    handle.remove()
    assert classifier.config._attn_implementation == implementation
    assert_nothing_is_bypassed(classifier)
    assert torch.equal(stock_forward(classifier, pixels_BCHW).logits, logits_before_BL)


def test_frozen_it_answers_alike_and_no_weight_gets_a_gradient(classifier):
    pixels_BCHW, kept_BK = images_for(classifier)
    before_BL = classifier(pixels_BCHW, kept_BK).logits
    assert classifier.train().freeze() is classifier
    assert not any(module.training for module in classifier.modules())
    pixels_BCHW.requires_grad_()
    after_BL = classifier(pixels_BCHW, kept_BK).logits
    after_BL.sum().backward()
    torch.testing.assert_close(after_BL, before_BL, **rounding_by_freezing(classifier))
    assert pixels_BCHW.grad is not None
    assert all(weight.grad is None and not weight.requires_grad for weight in classifier.parameters())


def test_unfrozen_with_every_patch_kept_every_weight_gets_the_stock_models_gradient(classifier):
    pixels_BCHW, _ = images_for(classifier)
    names, weights = zip(*classifier.model.named_parameters())
    sparse, dense = (
        torch.autograd.grad(forward().logits.logsumexp(dim=1).sum(), weights, allow_unused=True)
        for forward in (lambda: classifier(pixels_BCHW), lambda: stock_forward(classifier, pixels_BCHW))
    )
    for name, sparse_gradient, dense_gradient in zip(names, sparse, dense):
        assert (sparse_gradient is None) == (dense_gradient is None), name
        if dense_gradient is not None:
            # Rounding of sums over images and patches, relative to the largest entry.
            atol = 1e-10 * max(1.0, float(dense_gradient.abs().max()))
            torch.testing.assert_close(
                sparse_gradient, dense_gradient, rtol=1e-8, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_unfrozen_with_patches_pruned_every_embedding_gets_a_gradient(classifier):
    pixels_BCHW, kept_BK = images_for(classifier)
    classifier(pixels_BCHW, kept_BK).logits.logsumexp(dim=1).sum().backward()
    weights = dict(classifier.embeddings.named_parameters())
    trained = {name for name, weight in weights.items() if weight.grad is not None and (weight.grad != 0).any()}
    # The mask token belongs to pre-training; what lies in some buffers is learned by nobody.
    assert trained == set(weights) - {"mask_token"}
    assert any("position" in name for name in trained) or not classifier.takes_any_tokens


def test_a_pruned_patchs_own_position_gets_no_gradient(make_model):
    classifier = CASES["deit"].wrap(make_model(CASES["deit"]))
    pixels_BCHW, kept_BK = images_for(classifier, num_images=1)
    classifier(pixels_BCHW, kept_BK).logits.logsumexp(dim=1).sum().backward()
    gradient_TD = classifier.embeddings.position_embeddings.grad[0]
    gets_gradient_N = (gradient_TD[classifier.num_prefix_tokens :] != 0).any(dim=1)
    assert sorted(gets_gradient_N.nonzero()[:, 0].tolist()) == sorted(kept_BK[0].tolist())


def test_dropout_of_the_embeddings_acts_once_in_training(tiny):
    config = ViTConfig(**tiny, image_size=32, patch_size=8, hidden_dropout_prob=0.5)
    torch.manual_seed(0)
    classifier = SparseClassifier(ViTForImageClassification(config)).eval()
    pixels_BCHW, kept_BK = images_for(classifier)
    patches_BKCPQ = classifier.grid.cut(pixels_BCHW, kept_BK)
    tokens_BTD = classifier.embed(patches_BKCPQ, kept_BK)
    dropped_BTD = classifier.train().embed(patches_BKCPQ, kept_BK)
    assert classifier.embeddings.training
    # 336 entries, half of them dropped: five standard deviations are 0.14.
    assert abs((dropped_BTD == 0).float().mean() - 0.5) < 0.14
    # The others are scaled by 1 / (1 - 0.5); dropout on the way there would have changed them.
    stays_BTD = dropped_BTD != 0
    torch.testing.assert_close(dropped_BTD[stays_BTD], 2 * tokens_BTD[stays_BTD])


@torch.no_grad()
def test_frozen_and_then_cast_it_is_still_the_stock_model(case, make_model):
    classifier = case.wrap(make_model(case)).freeze().to(torch.bfloat16)
    pixels_BCHW, _ = images_for(classifier)
    logits_BL = classifier(pixels_BCHW).logits
    assert logits_BL.dtype == torch.bfloat16 if classifier.head is None else torch.float32
    # bfloat16 has 8 bits: 3 digits at best, of which two layers take one or two.
    torch.testing.assert_close(logits_BL, stock_forward(classifier, pixels_BCHW).logits, rtol=0.05, atol=0.2)


# torch.compile


def compiled_and_eager_agree(classifier: SparseClassifier, **options: object) -> None:
    classifier.freeze()
    pixels_BCHW, order_BN = images_for(classifier, num_kept=10)
    expected = {}
    for num_kept in (10, 6):
        leaf = pixels_BCHW.clone().requires_grad_()
        logits_BL = classifier(leaf, order_BN[:, :num_kept]).logits
        expected[num_kept] = logits_BL.detach(), *torch.autograd.grad(logits_BL.logsumexp(dim=1).sum(), leaf)
    classifier.compile(**options)
    for num_kept in (10, 6, 10):
        leaf = pixels_BCHW.clone().requires_grad_()
        logits_BL = classifier(leaf, order_BN[:, :num_kept]).logits
        (gradient_BCHW,) = torch.autograd.grad(logits_BL.logsumexp(dim=1).sum(), leaf)
        torch.testing.assert_close(logits_BL, expected[num_kept][0], **ROUNDING)
        torch.testing.assert_close(gradient_BCHW, expected[num_kept][1], **ROUNDING)
        classifier.patch_attention(classifier.grid.cut(pixels_BCHW, order_BN[:, :num_kept]), order_BN[:, :num_kept])


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", ["deit-two-heads", "dinov2_with_registers", "siglip_vision_model"])
def test_traced_for_compilation_it_gives_the_same_logits_and_gradients(name, make_model, fresh_compiler):
    """Tracing and differentiation as in torch.compile, without its slow code generation."""
    compiled_and_eager_agree(CASES[name].wrap(make_model(CASES[name])), backend="aot_eager")


def test_each_shape_of_a_run_is_compiled_once(tiny, fresh_compiler):
    """A full and a smaller last batch of the paper's schedule, with scoring passes in between, and all of it again."""
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**{**tiny, "num_hidden_layers": 1}, image_size=32, patch_size=8))
    classifier = SparseClassifier(model).freeze()
    graphs = []

    def count(graph_module, example_inputs):
        graphs.append(graph_module)
        return graph_module.forward

    classifier.compile(backend=count)
    shapes = [(num_images, num_kept) for num_images in (3, 2) for num_kept in (16, 11, 7, 4, 2)]
    for num_images, num_kept in 2 * shapes:
        pixels_BCHW, kept_BK = images_for(classifier, num_images=num_images, num_kept=num_kept)
        patches_BKCPQ = classifier.grid.cut(pixels_BCHW, kept_BK)
        classifier.forward_patches(patches_BKCPQ.clone().requires_grad_(), kept_BK)
        classifier.patch_attention(patches_BKCPQ, kept_BK)
    assert len(graphs) == len(shapes)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_it_gives_the_same_logits_and_gradients(make_model, fresh_compiler):
    compiled_and_eager_agree(SparseClassifier(make_model(CASES["vit"])))


# What is refused


def test_an_image_size_that_the_patches_do_not_tile_is_refused(make_model):
    with pytest.raises(UsageError, match="image height 30 px is not a positive multiple of the patch height 8 px"):
        SparseClassifier(make_model(CASES["vit"]), (30, 32))


@pytest.mark.parametrize("image_size", [(48, 48), (32, 32), (64, 32)])
def test_positions_of_a_wide_image_that_cannot_be_interpolated_are_refused(make_model, image_size):
    """The stock models take the number of positions for a square when they interpolate."""
    with pytest.raises(UsageError, match=r"positions .* cannot be interpolated"):
        SparseClassifier(make_model(CASES["vit-wide"]), image_size).verify()


def test_a_dinov2_of_wide_images_is_refused_as_it_always_interpolates(make_model):
    case = FamilyCase("dinov2", classifier_of("Dinov2", image_size=[28, 56], patch_size=14), 1)
    with pytest.raises(UsageError, match=r"positions .* cannot be interpolated"):
        case.wrap(make_model(case)).verify()


def test_a_family_whose_images_cannot_be_resized_says_so(make_model):
    model = make_model(CASES["beit"])
    with pytest.raises(UsageError, match="'beit' model takes images of 32x32 px and no others, but 48x32 was asked"):
        SparseClassifier(model, (48, 32)).verify()


def test_a_model_whose_family_reads_a_cls_token_that_it_has_not_is_refused(make_model, monkeypatch):
    monkeypatch.setitem(FAMILIES._entries, "ijepa", ViTFamily(backbone="ijepa"))
    with pytest.raises(UsageError, match="this 'ijepa' checkpoint has no CLS token before its patches"):
        SparseClassifier(make_model(CASES["ijepa"])).verify()


def test_a_model_that_knows_positions_behind_its_embeddings_is_not_compiled(make_model):
    classifier = CASES["dinov3_vit"].wrap(make_model(CASES["dinov3_vit"]))
    with pytest.raises(UsageError, match="'dinov3_vit' model cannot be compiled"):
        classifier.compile()


def test_a_configuration_that_asks_for_tuples_is_answered_all_the_same(case, make_model):
    model = make_model(case)
    model.config.return_dict = False
    classifier = case.wrap(model).freeze()
    classifier.verify()
    pixels_BCHW, kept_BK = images_for(classifier)
    assert classifier(pixels_BCHW, kept_BK).logits.shape == (2, 5)
    assert classifier.patch_attention(classifier.grid.cut(pixels_BCHW, kept_BK), kept_BK).shape == kept_BK.shape


def test_a_checkpoint_that_departs_from_its_family_is_refused(make_model):
    model = make_model(CASES["vit"])
    model.vit.embeddings.patch_embeddings.register_forward_hook(lambda module, arguments, output: 2 * output)
    message = r"the sparse forward of this 'vit' checkpoint differs from the stock model by [\d.e+]+ with every patch"
    with pytest.raises(UsageError, match=message):
        SparseClassifier(model).verify()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_rounding_of_half_precision_is_no_departure_from_the_family(tiny, with_large_weights, dtype):
    config = ViTConfig(**{**tiny, "hidden_size": 96, "num_hidden_layers": 12}, image_size=32, patch_size=8)
    torch.manual_seed(0)
    model = with_large_weights(ViTForImageClassification(config)).to(dtype)
    SparseClassifier(model).verify()


def test_weights_that_are_not_numbers_are_named_as_such(make_model):
    model = make_model(CASES["vit"])
    with torch.no_grad():
        model.classifier.weight[0, 0] = math.nan
    with pytest.raises(UsageError, match=r"logits .* not finite"):
        SparseClassifier(model).verify()
