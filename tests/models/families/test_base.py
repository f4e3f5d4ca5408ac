"""Which families are served, which are refused, and what a wrong name is told."""

import re

import pytest
from transformers import (
    PretrainedConfig,
    ViTConfig,
)

from smi_hf.errors import UsageError
from smi_hf.models.families.base import FAMILIES, UNSUPPORTED, ViTFamily, find_family


@pytest.mark.parametrize("model_type", sorted(UNSUPPORTED))
def test_a_family_that_cannot_be_served_is_refused_with_the_reason_and_those_that_can(model_type):
    config = PretrainedConfig()
    config.model_type = model_type
    message = (
        f"model type {model_type!r} cannot be inverted sparsely: it {UNSUPPORTED[model_type]}. "
        f"Supported: {', '.join(FAMILIES.names())}"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        find_family(config)


def test_an_unknown_family_is_answered_with_the_nearest_one():
    config = ViTConfig()
    config.model_type = "vit_mns"
    message = "cannot be inverted sparsely: no family is registered for it (did you mean 'vit_msn'?). Supported: deit"
    with pytest.raises(UsageError, match=re.escape(message)):
        find_family(config)


def test_no_family_is_both_served_and_refused():
    assert not set(UNSUPPORTED) & set(FAMILIES.names())
    assert all(isinstance(FAMILIES.get(name), ViTFamily) for name in FAMILIES.names())
