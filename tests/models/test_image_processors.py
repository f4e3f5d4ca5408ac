"""Every image processor of transformers that has a classifier: its mean, its standard deviation, its channels."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from smi_hf import UsageError
from smi_hf.models.preprocessing import normalization_of, preprocess

MODEL_TYPES = sorted(config.model_type for config in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING)
# What these make is no image of (channels, height, width): numbers of clusters of colors, and loose patches.
REFUSED = {"ImageGPTImageProcessor", "Siglip2ImageProcessor"}
# transformers has no other variant of these.
NEED_TORCHVISION = {"PPLCNetImageProcessor"}
# Not loaded: see tests/models/test_timm_processor.py.
OF_TIMM = "timm_wrapper"


def processor_classes() -> dict[str, str]:
    """Model type by each class that needs no torchvision where there is one: that which smi_hf loads."""
    found = {}
    for model_type in MODEL_TYPES:
        names = None if model_type == OF_TIMM else IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type)
        variants = list(names.values()) if isinstance(names, dict) else [names] if isinstance(names, str) else names
        named = [name for name in variants or () if name]
        if named:
            found[next((name for name in named if name.endswith("Pil")), named[0])] = model_type
    return {name: model_type for name, model_type in found.items() if name not in NEED_TORCHVISION}


CLASSES = processor_classes()


def make(name: str, **options: object) -> object:
    return getattr(transformers, name)(**options)


def base(name: str) -> str:
    return name.removesuffix("Pil")


def test_the_walk_finds_the_processors_of_this_transformers():
    names = {base(name) for name in CLASSES}
    assert names >= {"ViTImageProcessor", "BitImageProcessor", "MobileViTImageProcessor", "EfficientNetImageProcessor"}
    assert names >= REFUSED and len(names) > 15


@pytest.mark.parametrize("name", sorted(name for name in CLASSES if base(name) not in REFUSED))
def test_our_normalized_colors_are_those_of_the_processor(name):
    processor = make(name)
    normalization = normalization_of(processor, transformers.ViTConfig())
    generator = np.random.default_rng(0)
    for color in generator.integers(256, size=(5, 3)):
        image_CHW = preprocess([Image.new("RGB", (48, 64), tuple(map(int, color)))], processor)[0]
        seen_C = image_CHW[:, image_CHW.shape[1] // 2, image_CHW.shape[2] // 2]
        ours_C = normalization.from_uint8(torch.from_numpy(color.astype(np.uint8))[:, None, None]).flatten()
        np.testing.assert_allclose(seen_C, ours_C, atol=1e-4)


@pytest.mark.parametrize("name", sorted(name for name in CLASSES if base(name) not in REFUSED))
def test_what_we_write_is_what_the_processor_was_given(name):
    normalization = normalization_of(make(name), transformers.ViTConfig())
    pixels_BCHW = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(normalization.to_uint8(normalization.from_uint8(pixels_BCHW)), pixels_BCHW)


@pytest.mark.parametrize("name", sorted(name for name in CLASSES if base(name) in REFUSED))
def test_what_makes_no_images_is_refused_in_a_sentence(name):
    options = {"clusters": np.zeros((4, 3))} if name.startswith("ImageGPT") else {}
    with pytest.raises(UsageError, match=r"the image processor (fails|\()"):
        normalization_of(make(name, **options), transformers.ViTConfig())


@pytest.mark.parametrize("name", sorted(NEED_TORCHVISION & set(dir(transformers))))
def test_what_is_left_out_of_the_walk_cannot_be_made_here(name):
    with pytest.raises(ImportError, match="Torchvision"):
        make(name)


@pytest.mark.parametrize(
    ("options", "mean", "std"),
    [
        ({"do_normalize": False}, (0, 0, 0), (1, 1, 1)),
        ({"do_rescale": False, "do_normalize": False}, (0, 0, 0), (1 / 255,) * 3),
        ({"rescale_factor": 1 / 127.5}, (0.25,) * 3, (0.25,) * 3),
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    ],
)
def test_settings_may_be_any(make_processor, options, mean, std):
    normalization = normalization_of(make_processor(**options), transformers.ViTConfig())
    np.testing.assert_allclose((normalization.mean, normalization.std), (mean, std), rtol=1e-5)
    assert not normalization.is_bgr


def test_blue_comes_first_where_the_processor_flips_channels():
    name = next(each for each in CLASSES if base(each) == "MobileViTImageProcessor")
    assert normalization_of(make(name), transformers.ViTConfig()).is_bgr
    assert not normalization_of(make(name, do_flip_channel_order=False), transformers.ViTConfig()).is_bgr
