"""How image towers of CLIP are loaded and read."""

import pytest
from transformers import CLIPConfig, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from smi_hf.models.embeddings import Reading
from smi_hf.models.families.base import FAMILIES


@pytest.fixture
def family():
    return FAMILIES.get("clip")


def test_the_tower_of_a_whole_checkpoint_projects_into_the_space_of_both(family):
    config = CLIPConfig(vision_config={"projection_dim": 512, "hidden_size": 24}, projection_dim=16)
    model_class, options = family.bare_class(config)
    assert model_class is CLIPVisionModelWithProjection
    assert (options["config"].projection_dim, options["config"].hidden_size) == (16, 24)


def test_a_tower_alone_is_loaded_as_what_it_was_saved_as(family):
    assert family.bare_class(CLIPVisionConfig())[0] is CLIPVisionModelWithProjection
    assert family.bare_class(CLIPVisionConfig(architectures=["CLIPVisionModel"]))[0] is CLIPVisionModel


def test_embeddings_are_projected_where_there_is_a_projection(family):
    config = CLIPVisionConfig(hidden_size=24, num_attention_heads=3, num_hidden_layers=1, intermediate_size=8)
    assert family.reading(CLIPVisionModelWithProjection(config), 1) == Reading("image_embeds", "given")
    assert family.reading(CLIPVisionModel(config), 1) == Reading("pooler_output", "given")
