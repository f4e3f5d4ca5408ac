"""timm's Vision Transformers: what they attend to, and what cannot be shown single patches."""

import pytest
import torch
from family_cases import CASES, TIMM_CASES, timm
from torch import Tensor
from transformers import PreTrainedModel

from smi_hf.environment import missing_packages
from smi_hf.models import DenseClassifier, SparseClassifier
from smi_hf.models.lookup import why_dense
from smi_hf.models.teacher import wrap

pytestmark = pytest.mark.skipif(bool(missing_packages("timm")), reason="timm is absent: make test-timm has it")


def opened(name: str, with_large_weights) -> SparseClassifier:
    torch.manual_seed(0)
    return CASES[name].wrap(with_large_weights(CASES[name].make()).double())


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def last_block_weights(model: PreTrainedModel, pixels_BCHW: Tensor) -> Tensor:
    """Attention (B, A, T, T) of the last block, computed from what enters its attention, as the papers write it."""
    inner, seen = model.timm_model, []
    attention = inner.blocks[-1].attn
    handle = attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(pixel_values=pixels_BCHW)
    handle.remove()
    (tokens_BTD,) = seen
    query_key_value = attention.qkv(tokens_BTD).unflatten(-1, (3, attention.num_heads, -1))
    query_BTAE, key_BTAE, _ = query_key_value.unbind(2)
    scores_BATT = torch.einsum("bqae,bkae->baqk", query_BTAE, key_BTAE) / query_BTAE.shape[-1] ** 0.5
    return scores_BATT.softmax(-1)


@torch.no_grad()
@pytest.mark.parametrize("name", ["timm-vit", "timm-deit", "timm-registers", "timm-clip", "timm-dinov2"])
def test_patch_attention_is_that_of_the_last_block(name, with_large_weights, images):
    sparse, num_prefix = opened(name, with_large_weights), CASES[name].num_prefix
    of_patches_BATN = last_block_weights(sparse.model, images)[..., num_prefix:]
    expected_BN = of_patches_BATN[:, :, 0].mean(1) if sparse.reads_from == "cls" else of_patches_BATN.mean((1, 2))
    found_BN = sparse.patch_attention(sparse.grid.cut(images), sparse.grid.all_patches(2))
    torch.testing.assert_close(found_BN, expected_BN.float(), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_query_that_pools_ranks_patches(with_large_weights, images):
    sparse = opened("timm-siglip", with_large_weights)
    assert sparse.reads_from == "query"
    inner = sparse.model.timm_model
    pool = inner.attn_pool
    tokens_BTD = inner.forward_features(images)
    query_AE = pool.q(pool.latent)[0, 0].unflatten(0, (pool.num_heads, -1))
    key_BTAE = pool.kv(tokens_BTD).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0]
    weights_BAT = (torch.einsum("ae,btae->bat", query_AE, key_BTAE) / query_AE.shape[-1] ** 0.5).softmax(-1)
    found_BN = sparse.patch_attention(sparse.grid.cut(images), sparse.grid.all_patches(2))
    torch.testing.assert_close(found_BN, weights_BAT.mean(1).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("resnet10t", "it is timm's ResNet, and of timm those can that are VisionTransformer"),
        ("convnext_atto", "it is timm's ConvNeXt"),
    ],
)
def test_other_architectures_are_shown_whole_images(architecture, reason):
    model = timm(architecture, sizes={})()
    assert why_dense(model).startswith(reason)
    dense = wrap(model, (64, 64)).freeze()
    assert isinstance(dense, DenseClassifier)
    dense.verify()


def test_the_cases_are_of_what_is_served():
    for name in TIMM_CASES:
        assert why_dense(CASES[name].make()) is None
