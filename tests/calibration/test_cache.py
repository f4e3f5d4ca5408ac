"""Where calibration images are kept: by what decides what they are."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smi_hf.calibration.cache import cache_folder, kept_folder
from smi_hf.patches import Normalization


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SMI_HF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_variable_says_or_beside_other_caches_of_hugging_face(cache, monkeypatch):
    import huggingface_hub.constants

    assert cache_folder() == cache
    monkeypatch.delenv("SMI_HF_CACHE")
    assert cache_folder() == Path(huggingface_hub.constants.HF_HOME) / "smi_hf"


def test_the_same_weights_and_settings_have_the_same_place_and_others_another(teacher, cache):
    place = kept_folder(teacher, {"num_steps": 24})
    assert place.parent == cache / "calibration" and place.name.startswith("tiny-vit-")
    assert kept_folder(copy.deepcopy(teacher), {"num_steps": 24}) == place
    other = copy.deepcopy(teacher)
    with torch.no_grad():
        other.model.model.classifier.bias[0] += 1
    normalized = replace(teacher, normalization=Normalization((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)))
    others = {kept_folder(other, {"num_steps": 24}), kept_folder(teacher, {"num_steps": 25})}
    assert len({place, kept_folder(normalized, {"num_steps": 24})} | others) == 4


@pytest.mark.parametrize(
    ("name", "begin"), [("me/deit.tiny v2", "deit-tiny-v2-"), ("../..", "model-"), ("x" * 300, "x" * 60 + "-")]
)
def test_a_name_of_a_model_is_no_path(teacher, cache, name, begin):
    place = kept_folder(replace(teacher, name=name), {})
    assert place.parent == cache / "calibration"
    assert place.name.startswith(begin) and len(place.name) == len(begin) + 12
