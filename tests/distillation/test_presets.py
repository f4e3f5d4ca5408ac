"""Values that presets choose."""

import pytest

from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.presets import DEFAULTS, PRESETS, preset_help, preset_settings


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("num_images", [1, 2, 33, 64, 512, 20_000])
def test_every_preset_is_accepted_for_any_number_of_images(name, num_images):
    settings = preset_settings(name, num_images)
    assert set(settings) == set(DEFAULTS)
    config = SparseDistillationConfig(use_cpu=True, freeze_backbone=name == "head", **settings)
    assert not config.is_open


def test_more_images_are_seen_fewer_times():
    few, many = (preset_settings("head", num_images) for num_images in (64, 512))
    assert 64 * few["num_views"] == 512 * many["num_views"] == 4096
    few, many = (preset_settings("recover", num_images) for num_images in (64, 512))
    assert few["num_train_epochs"] * 2 == pytest.approx(many["num_train_epochs"] * 16, rel=0.1)


def test_help_names_every_preset():
    assert [line.split()[0] for line in preset_help().splitlines()] == list(PRESETS)
