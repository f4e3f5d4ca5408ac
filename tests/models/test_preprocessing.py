"""What image processors make of pictures."""

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from transformers import BitImageProcessor, ConvNextImageProcessor, ViTImageProcessor

from smi_hf import UsageError, load_teacher
from smi_hf.models import Teacher
from smi_hf.models.preprocessing import load_image_processor, normalization_of, preprocess, with_image_size

PICTURES = [Image.new("RGB", size, color) for size, color in (((40, 30), "red"), ((30, 50), "blue"))]


def test_pixels_are_those_of_the_image_processor(make_processor):
    processor = make_processor()
    expected = processor(PICTURES, return_tensors="np")["pixel_values"]
    found = preprocess(PICTURES, processor)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_pictures_of_every_kind_become_rgb(make_processor, mode):
    assert preprocess([Image.new(mode, (40, 30))], make_processor()).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(do_resize=False),
        ViTImageProcessor(size={"shortest_edge": 32}),
        BitImageProcessor(size={"shortest_edge": 32}, do_center_crop=False),
    ],
)
def test_images_that_come_out_in_several_sizes_are_one_sentence(processor):
    with pytest.raises(UsageError, match=r"the image processor (makes images of different sizes, such as|fails \()"):
        preprocess(PICTURES, processor)


def test_a_processor_that_fails_is_one_sentence(make_processor):
    processor = make_processor(image_mean=[0.5, 0.5])
    with pytest.raises(UsageError, match=r"the image processor fails \(ValueError: .*mend preprocessor_config\.json"):
        preprocess(PICTURES, processor)


def test_what_is_no_processor_is_one_sentence(make_vit):
    with pytest.raises(UsageError, match=r"the image processor fails \(TypeError: .* is not callable"):
        normalization_of(SimpleNamespace(do_rescale=True, do_normalize=True), make_vit().config)


def test_colors_that_are_mixed_are_refused(make_vit, make_processor):
    def gray(pictures, **options):
        return processor([picture.convert("L").convert("RGB") for picture in pictures], **options)

    processor = make_processor()
    with pytest.raises(UsageError, match=r"of a picture of color \(64, 128, 192\), which no mean and"):
        normalization_of(gray, make_vit().config)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (None, [0.5] * 3),
        ([0.5] * 3, None),
        ([0.5] * 3, [0.5, 0.5, math.nan]),
        ([0.5, 0.5, math.inf], [0.5] * 3),
        ([0.5] * 3, 0),
        ([0.5] * 3, [0.5, 0.5, -0.5]),
        (["a", "b", "c"], [0.5] * 3),
        ("mean", [0.5] * 3),
        ([True] * 3, [0.5] * 3),
        ([], []),
    ],
)
def test_a_mean_and_std_that_are_none_are_refused(make_vit, make_processor, mean, std):
    processor = make_processor()
    processor.image_mean, processor.image_std = mean, std
    with pytest.raises(UsageError, match="must have one value per channel, and std be positive"):
        Teacher.from_model(make_vit(), processor)


@pytest.mark.parametrize("factor", [None, "1/255", math.nan, 0])
def test_a_rescale_factor_that_is_none_is_refused(make_vit, make_processor, factor):
    processor = make_processor()
    processor.rescale_factor = factor
    with pytest.raises(UsageError, match=r"the image processor (fails|makes .* of black and)"):
        normalization_of(processor, make_vit().config)


# Sizes


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(size={"height": 32, "width": 32}),
        BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
        # Below 384 px this class crops a larger square, whatever its size is called.
        ConvNextImageProcessor(size={"shortest_edge": 32}),
        # Nothing is resized: the size of pictures is a matter of the pictures.
        ViTImageProcessor(size={"height": 99, "width": 99}, do_resize=False),
    ],
)
def test_the_size_of_an_image_processor_is_what_it_makes(make_vit, processor):
    assert Teacher.from_model(make_vit(), processor).model.grid.image_size == (32, 32)


def test_a_processor_that_cannot_process_is_refused_with_its_teacher(make_vit):
    processor = ViTImageProcessor(size={"longest_edge": 32})
    with pytest.raises(UsageError, match=r"the image processor fails \("):
        Teacher.from_model(make_vit(), processor)


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(size={"height": 32, "width": 32}),
        BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
    ],
)
def test_a_teacher_of_another_size_has_an_image_processor_of_that_size(make_vit, processor):
    teacher = Teacher.from_model(make_vit(), processor, image_size=(48, 32))
    assert preprocess(PICTURES, teacher.image_processor).shape == (2, 3, 48, 32)
    # That of the caller is left as it was.
    assert preprocess(PICTURES, processor).shape == (2, 3, 32, 32)
    assert teacher.normalization.mean == tuple(processor.image_mean)


def test_a_processor_of_the_right_size_is_left_alone(make_processor):
    processor = make_processor()
    assert with_image_size(processor, (32, 32)) is processor


# Loading


@pytest.mark.parametrize("content", ["{", "[]", '"text"', '{"image_processor_type": "Nonesuch"}', "null"])
def test_a_file_that_is_no_image_processors_is_one_sentence(tiny_checkpoint, tmp_path, content):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(content)
    with pytest.raises(UsageError, match="has no image processor that loads"):
        load_teacher(str(folder))


def test_an_image_processor_is_loaded_by_itself(tiny_checkpoint):
    assert json.loads((tiny_checkpoint / "preprocessor_config.json").read_text())["size"] == dict(
        load_image_processor(str(tiny_checkpoint)).size
    )


@pytest.mark.parametrize("name", ["ViTImageProcessor", "ViTImageProcessorFast"])
def test_a_processor_that_was_saved_as_fast_is_loaded_without_torchvision(tiny_checkpoint, tmp_path, name):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "vit")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_processor_type": name}))
    assert preprocess(PICTURES, load_image_processor(str(folder))).shape == (2, 3, 32, 32)
