from dataclasses import replace

import pytest
import torch

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.images.kept import gaussian_noise, random_patches, real_images, sparse_images
from smi_hf.images.real import load_image_set


def test_sparse_images_are_the_datasets_and_their_kept_patches(kept_images, sparse_folder):
    dataset = load_sparse_dataset(sparse_folder).dataset
    assert len(kept_images) == 6
    assert kept_images.kept_BK.tolist() == dataset["kept_patches"][:]
    assert kept_images.source == "inverted, kept patches"


def test_asking_for_more_images_than_there_are_is_refused(sparse_folder, teacher):
    with pytest.raises(UsageError, match="num_images is 7, but the dataset has 6 images"):
        sparse_images(load_sparse_dataset(sparse_folder), 7)


def test_a_set_with_a_nan_is_refused(kept_images):
    pixels = kept_images.pixels_BCHW.clone()
    pixels[2, 0, 5, 5] = float("nan")
    with pytest.raises(UsageError, match="holds values that are not finite"):
        replace(kept_images, pixels_BCHW=pixels)


def test_controls_are_reproducible_and_differ_by_seed(kept_images, teacher, photographs, image_processor):
    images = load_image_set(str(photographs), teacher.label_names)
    makers = (
        lambda seed: gaussian_noise(teacher.model, 3, seed=seed).pixels_BCHW,
        lambda seed: random_patches(kept_images, teacher.model, 7, seed=seed).kept_BK,
        lambda seed: real_images(images, teacher.model, image_processor, 3, seed=seed).pixels_BCHW,
    )
    for make in makers:
        assert torch.equal(make(1), make(1))
        assert not torch.equal(make(1), make(2))


def test_real_and_gaussian_controls_show_every_patch(teacher, photographs, image_processor):
    images = load_image_set(str(photographs), teacher.label_names)
    for control in (gaussian_noise(teacher.model, 4), real_images(images, teacher.model, image_processor, 4)):
        assert control.pixels_BCHW.shape == (4, 3, 32, 32)
        assert control.kept_BK.tolist() == [list(range(16))] * 4
