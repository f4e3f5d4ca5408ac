import torch

from smi_hf.images.controls.gaussian import gaussian_noise


def test_noise_is_reproducible_differs_by_seed_and_shows_every_patch(teacher, inputs):
    from smi_hf.images.controls.base import CONTROLS

    first, second = CONTROLS.get("gaussian").make(inputs(seeds=(1, 2)))
    assert torch.equal(first.pixels_BCHW, gaussian_noise(teacher.model, 6, seed=1).pixels_BCHW)
    assert not torch.equal(first.pixels_BCHW, second.pixels_BCHW)
    assert first.pixels_BCHW.shape == (6, 3, 32, 32)
    assert first.kept_BK.tolist() == [list(range(16))] * 6
    assert first.source == "Gaussian noise"
