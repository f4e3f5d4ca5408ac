"""Classifiers that are shown whole images: patches are hidden from them."""

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from smi_hf.errors import UsageError
from smi_hf.models import DenseClassifier, SparseClassifier
from smi_hf.models.dense import cell_side, require_sparse


@pytest.fixture
def model(with_large_weights):
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    return with_large_weights(ResNetForImageClassification(config))


@pytest.fixture
def dense(model):
    return DenseClassifier(model, 32).freeze()


@pytest.fixture
def images(dense):
    generator = torch.Generator().manual_seed(0)
    kept_BK = torch.tensor([[0, 3], [1, 2]])
    return torch.randn(2, 3, 32, 32, generator=generator), kept_BK


def test_with_every_patch_it_is_the_stock_model(dense, images):
    pixels_BCHW, _ = images
    assert torch.equal(dense(pixels_BCHW).logits, dense.model(pixel_values=pixels_BCHW).logits)
    dense.verify()


def test_pruned_patches_are_in_the_mean_color_and_get_no_gradient(dense, images):
    pixels_BCHW, kept_BK = images
    hidden_BCHW = dense.grid.paste(dense.grid.cut(pixels_BCHW, kept_BK), kept_BK, fill=0)
    leaf = pixels_BCHW.clone().requires_grad_()
    logits_BL = dense(leaf, kept_BK).logits
    assert torch.equal(logits_BL, dense.model(pixel_values=hidden_BCHW).logits)
    logits_BL.square().sum().backward()
    gradient_BNCPQ, is_kept_BN = dense.grid.cut(leaf.grad), dense.grid.slots(kept_BK) >= 0
    assert (gradient_BNCPQ[~is_kept_BN] == 0).all() and (gradient_BNCPQ[is_kept_BN] != 0).any()


def test_another_model_is_asked_in_the_same_way(dense, model):
    around = dense.around(model)
    assert around.grid == dense.grid and around.model is model


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ((224, 224), 16), ((32, 32), 16), ((384, 256), 16), ((299, 299), 13), ((196, 196), 14), ((227, 227), 227),
        ((30, 20), 10),
    ],
)  # fmt: skip
def test_cells_tile_the_image_and_are_like_patches_where_they_can(size, side):
    assert cell_side(size) == side


def test_images_that_the_model_does_not_take_are_refused(dense):
    # As where config.json says something else than the weights.
    dense.model.resnet.embedder.num_channels = 1
    with pytest.raises(UsageError, match="'resnet' model does not take images of 32x32 px"):
        dense.verify()


def test_what_needs_single_patches_is_refused_with_the_reason(dense, make_vit):
    require_sparse(SparseClassifier(make_vit()), "this")
    with pytest.raises(
        UsageError,
        match="this needs a model that can be shown single patches, and a 'resnet' model cannot: it convolves",
    ):
        require_sparse(dense, "this")
