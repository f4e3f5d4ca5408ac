"""Which models tell classes apart."""

import pytest
from family_cases import CASES
from transformers import TimmWrapperConfig, ViTConfig

from smi_hf.models.classification import answer_by_name, is_classifier, is_headless


@pytest.mark.parametrize(("name", "expected"), [("vit", False), ("deit-two-heads", False), ("vit-bare", True)])
def test_a_model_without_a_head_is_known_by_its_class(name, expected):
    assert is_headless(CASES[name].make()) is expected


def test_a_checkpoint_says_what_it_is_or_is_taken_for_a_classifier():
    assert is_classifier(ViTConfig()) and is_classifier(ViTConfig(architectures=["ViTForImageClassification"]))
    assert not is_classifier(ViTConfig(architectures=["ViTModel"]))


@pytest.mark.parametrize("num_labels", [0, 3])
def test_a_model_of_timm_without_labels_has_no_head(num_labels):
    assert is_classifier(TimmWrapperConfig(architecture="vit", num_labels=num_labels)) is (num_labels > 0)


def test_an_answer_has_names_whatever_the_configuration_asks_for():
    model = CASES["vit"].make()
    model.config.return_dict = False
    answer_by_name(model)
    assert model.config.return_dict
