"""What timm does to pictures, without timm."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from smi_hf import UsageError
from smi_hf.environment import missing_packages
from smi_hf.models.preprocessing import load_image_processor, normalization_of, preprocess
from smi_hf.models.timm_processor import timm_processor

CONFIG = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("changes", "size"),
    [({}, (32, 32)), ({"input_size": [3, 32, 48]}, (32, 48)), ({"crop_mode": "squash", "crop_pct": 1.0}, (32, 32))],
)
def test_images_have_the_size_and_range_that_timm_says(changes, size):
    processor = timm_processor(CONFIG | changes)
    assert preprocess([picture((70, 50)), picture((40, 90))], processor).shape == (2, 3, *size)
    normalization = normalization_of(processor, type("Config", (), {"num_channels": 3})())
    assert (normalization.mean, normalization.std) == ((0.5,) * 3, (0.25,) * 3)


def test_what_a_checkpoint_leaves_open_is_as_in_timm():
    processor = timm_processor({"num_classes": 5, "mean": None})
    assert (processor.size["shortest_edge"], tuple(processor.image_mean)) == (256, (0.485, 0.456, 0.406))
    assert preprocess([picture((300, 260))], processor).shape == (1, 3, 224, 224)


@pytest.mark.parametrize("changes", [{"crop_mode": "border"}, {"interpolation": "cubist"}])
def test_what_no_processor_does_is_refused(changes):
    with pytest.raises(UsageError, match="timm prepares pictures for this model by crop_mode"):
        timm_processor(CONFIG | changes)


@pytest.mark.skipif(bool(missing_packages("timm")), reason="timm is absent: make test-timm has it")
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop", [{"crop_pct": 0.875}, {"crop_pct": 1.0, "crop_mode": "squash"}])
def test_images_are_those_of_timm(interpolation, crop):
    from timm.data import create_transform, resolve_data_config

    config = CONFIG | crop | {"interpolation": interpolation}
    transform = create_transform(**resolve_data_config(pretrained_cfg=config), is_training=False)
    for size in ((64, 64), (64, 96), (96, 64)):
        theirs = transform(picture(size)).numpy()
        np.testing.assert_allclose(preprocess([picture(size)], timm_processor(config))[0], theirs, atol=1e-5)


@pytest.mark.skipif(bool(missing_packages("timm")), reason="timm is absent: make test-timm has it")
def test_a_checkpoint_of_timms_own_is_read(tmp_path):
    from family_cases import timm

    timm("vit_tiny_patch16_224")().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    # As on the Hub, where timm wrote it.
    (tmp_path / "config.json").write_text(
        json.dumps({name: config[name] for name in ("architecture", "num_classes", "model_args", "pretrained_cfg")})
    )
    assert load_image_processor(str(tmp_path)).size["shortest_edge"] == 35


@pytest.mark.skipif(not missing_packages("timm"), reason="timm is here")
def test_without_timm_a_checkpoint_of_it_says_how_to_get_it(tmp_path):
    from smi_hf import load_teacher

    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 5, "pretrained_cfg": CONFIG}
    (tmp_path / "config.json").write_text(json.dumps(config | {"label_names": ["a", "b", "c", "d", "e"]}))
    save_file({"head.bias": torch.zeros(5)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"is a model of timm, which is not installed; install it with .*\[timm\]"):
        load_teacher(str(tmp_path))
