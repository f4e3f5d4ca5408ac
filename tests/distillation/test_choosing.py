"""Settings that a preset fills in: which preset, which values, and what was given stays."""

import logging

import pytest
from transformers import ResNetConfig, ResNetForImageClassification

from smi_hf.distillation import StudentModel, StudentOrigin
from smi_hf.distillation.choosing import with_preset
from smi_hf.distillation.presets import DEFAULTS, preset_settings

OPEN = dict.fromkeys(DEFAULTS)


def small_resnet():
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=5)
    )


@pytest.fixture
def choose(make_args, student, teacher):
    """Settings as a student makes them; what is given by name is given by the user."""

    def choose(model=None, origin=None, num_images=64, **given):
        config = make_args(**{**OPEN, "preset": "auto", **given})
        return with_preset(config, model or student, origin or StudentOrigin(), teacher, num_images)

    return choose


def test_the_student_says_which_preset(choose, make_vit):
    assert choose().preset == "recover"
    assert choose(make_vit(num_hidden_layers=1)).preset == "recover"
    assert choose(freeze_backbone=True).preset == "head"
    assert choose(origin=StudentOrigin(from_scratch=True)).preset == "scratch"
    assert choose(origin=StudentOrigin(has_new_head=True)).preset == "finetune"
    assert choose(make_vit(num_hidden_layers=3)).preset == "finetune"
    assert choose(make_vit(hidden_size=12)).preset == "finetune"
    assert choose(small_resnet()).preset == "finetune"


def test_what_is_given_wins_and_the_rest_is_filled_in(choose):
    filled = choose(learning_rate=0.5, augmentations=["none"], freeze_backbone=True)
    assert (filled.learning_rate, filled.augmentations, filled.num_views) == (0.5, [], 1)
    assert filled.num_train_epochs == preset_settings("head", 64)["num_train_epochs"]


def test_layers_are_matched_only_where_there_are_the_teachers(choose):
    assert choose(preset="recover").hidden_state_weight > 0
    assert choose(small_resnet(), preset="recover").hidden_state_weight == 0


def test_trainer_record_and_log_say_what_was_chosen(run, teacher, caplog, student, image_processor):
    with caplog.at_level(logging.INFO, logger="smi_hf"):
        record = run(
            student=StudentModel(student, image_processor), preset="recover", temperature=None, num_train_epochs=None,
            hidden_state_weight=None, max_steps=1,
        )  # fmt: skip
    assert (record.settings["preset"], record.settings["temperature"]) == ("recover", 1.0)
    assert record.settings["hidden_state_weight"] == preset_settings("recover", 6)["hidden_state_weight"]
    assert [each.message for each in caplog.records if each.message.startswith("preset recover, for 6 images: ")]
