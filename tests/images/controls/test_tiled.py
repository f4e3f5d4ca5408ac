import torch

from smi_hf.images.controls.base import CONTROLS


def test_the_patches_of_the_set_are_shown_in_fewer_whole_images(inputs, kept_images):
    # 7 of 16 patches: two images share one.
    (tiled,) = CONTROLS.get("tiled").make(inputs())
    assert tiled.kept_BK.tolist() == [list(range(16))] * 3
    assert tiled.source == "inverted, tiled"
    values = tiled.pixels_BCHW.unique()
    assert torch.isin(values, kept_images.pixels_BCHW).all()
