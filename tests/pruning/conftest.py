"""Tiny classifiers of every family, of 3 blocks with 4x4 patches."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTMSNConfig,
    ViTMSNForImageClassification,
)

from smi_hf.models import SparseClassifier

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_labels": 5,
    "image_size": 32,
    "patch_size": 8,
}
CASES = {
    "vit": (ViTForImageClassification, ViTConfig, {"intermediate_size": 40}),
    "deit": (DeiTForImageClassification, DeiTConfig, {"intermediate_size": 40}),
    "deit-two-heads": (DeiTForImageClassificationWithTeacher, DeiTConfig, {"intermediate_size": 40}),
    "vit_msn": (ViTMSNForImageClassification, ViTMSNConfig, {"intermediate_size": 40}),
    # As wide as the tokens: widths alone tell nothing.
    "narrow": (ViTForImageClassification, ViTConfig, {"intermediate_size": 24}),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config, {"mlp_ratio": 2}),
    "registers": (Dinov2WithRegistersForImageClassification, Dinov2WithRegistersConfig, {"mlp_ratio": 2}),
}


@pytest.fixture(params=CASES)
def case(request) -> str:
    """The name of every case in turn."""
    return request.param


@pytest.fixture
def make_classifier() -> Callable[..., SparseClassifier]:
    """Makes the classifier of a case; arguments change its configuration."""

    def make(case: str, **changes: object) -> SparseClassifier:
        model_class, config_class, own = CASES[case]
        torch.manual_seed(0)
        # Large enough weights for the logits to depend on the image.
        model = model_class(config_class(**SIZES | own | {"initializer_range": 0.2} | changes)).eval()
        return SparseClassifier(model)

    return make
