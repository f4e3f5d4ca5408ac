"""How a model attends is changed for a while, and as before afterwards."""

import pytest
from family_cases import CASES, case_of

from smi_hf.models.attention import attention_implementation


@pytest.mark.parametrize("name", ["vit", "clip_vision_model", "siglip_vision_model", "dinov3_vit"])
def test_it_is_as_before_also_after_an_error(name):
    model = CASES[name].make() if name in CASES else case_of(name).make()
    before = model.config._attn_implementation

    def fail():
        with attention_implementation(model, "eager"):
            assert model.config._attn_implementation == "eager"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert model.config._attn_implementation == before


def test_a_model_without_a_choice_is_left_alone(resnet_checkpoint):
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(resnet_checkpoint)
    with attention_implementation(model, "eager"):
        pass
