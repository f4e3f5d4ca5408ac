"""Which families can be shown single patches, which cannot, and what a wrong name is told."""

import re
from types import SimpleNamespace

import pytest

from smi_hf.errors import UsageError
from smi_hf.models.families.base import FAMILIES, ViTFamily
from smi_hf.models.lookup import DENSE_REASONS, family_of, find_family, why_dense


def model_of(model_type: str) -> SimpleNamespace:
    return SimpleNamespace(config=SimpleNamespace(model_type=model_type))


@pytest.mark.parametrize("model_type", sorted(DENSE_REASONS))
def test_a_model_that_cannot_be_shown_patches_is_refused_with_the_reason_and_those_that_can(model_type):
    message = (
        f"model type {model_type!r} cannot be shown single patches: it {DENSE_REASONS[model_type]}. "
        f"Families that can: {', '.join(FAMILIES.names())}"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        find_family(model_of(model_type))


def test_an_unknown_family_is_answered_with_the_nearest_one():
    assert why_dense(model_of("vit_mns")) == "no family is registered for it (did you mean 'vit_msn'?)"


def test_no_family_is_both_served_and_refused():
    assert not set(DENSE_REASONS) & set(FAMILIES.names())
    assert all(isinstance(FAMILIES.get(name), ViTFamily) for name in FAMILIES.names())


def test_a_model_type_with_a_hyphen_has_the_file_of_its_name_with_an_underscore():
    assert family_of(model_of("data2vec-vision").config) is FAMILIES.get("data2vec_vision")
