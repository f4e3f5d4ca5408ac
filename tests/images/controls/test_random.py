import torch

from smi_hf.images.controls.base import CONTROLS
from smi_hf.images.controls.random import random_patches


def test_random_patches_are_as_many_as_the_sparse_set_keeps_and_differ_by_seed(inputs, dense_folder, kept_images):
    first, second = CONTROLS.get("random").make(inputs(dense_folder, seeds=(1, 2)))
    assert first.kept_BK.shape == kept_images.kept_BK.shape
    assert not torch.equal(first.kept_BK, second.kept_BK)
    assert torch.equal(first.pixels_BCHW, second.pixels_BCHW)
    assert first.source == "inverted, random patches (dense-set)"


def test_random_patches_are_reproducible(kept_images, teacher):
    first, again, other = (random_patches(kept_images, teacher.model, 7, seed=seed).kept_BK for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
