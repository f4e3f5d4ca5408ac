"""Tiny classifiers for tests of models, from configurations alone."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification, ViTImageProcessor

TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "num_labels": 5,
}


def _with_large_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Far from the initial weights, some of which are 0: then a wrong position or prefix token shows in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def tiny() -> dict[str, int]:
    """Arguments that make any ViT configuration tiny."""
    return dict(TINY)


@pytest.fixture(scope="session")
def with_large_weights() -> Callable[[PreTrainedModel], PreTrainedModel]:
    return _with_large_weights


@pytest.fixture
def make_vit() -> Callable[..., ViTForImageClassification]:
    """Makes a ViT of 4x4 patches; arguments change its configuration."""

    def make(**changes: object) -> ViTForImageClassification:
        config = ViTConfig(**{**TINY, "image_size": 32, "patch_size": 8, **changes})
        torch.manual_seed(0)
        return _with_large_weights(ViTForImageClassification(config))

    return make


@pytest.fixture
def make_processor() -> Callable[..., ViTImageProcessor]:
    """Makes the image processor of that ViT; arguments change it."""

    def make(side: int = 32, **changes: object) -> ViTImageProcessor:
        return ViTImageProcessor(**{"size": {"height": side, "width": side}, **changes})

    return make
