import torch

from smi_hf.images.controls.base import CONTROLS


def test_every_patch_is_shown_and_the_pictures_are_the_datasets(inputs, kept_images):
    (filled,) = CONTROLS.get("filled").make(inputs())
    assert filled.kept_BK.tolist() == [list(range(16))] * 6
    assert torch.equal(filled.pixels_BCHW, kept_images.pixels_BCHW)
    assert torch.equal(filled.labels_B, kept_images.labels_B)
