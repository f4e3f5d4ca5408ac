import numpy as np
import pytest
import torch

from smi_hf.patches import Normalization
from smi_hf.starts.pink import COLOR_CORRELATION, pink_noise


@pytest.fixture
def noise():
    """24 images, (B, 3, S, S)."""
    random = np.random.default_rng(0)
    return np.stack([pink_noise(random, (96, 96)) for _ in range(24)])


def test_amplitude_is_one_over_frequency(noise, slope):
    assert abs(slope(noise) + 1) < 0.03
    white = np.random.default_rng(1).standard_normal(noise.shape)
    assert abs(slope(white)) < 0.03


def test_channels_have_mean_0_and_std_1_in_every_image(noise):
    assert np.allclose(noise.mean(axis=(2, 3)), 0, atol=1e-5)
    assert np.allclose(noise.std(axis=(2, 3)), 1, atol=1e-5)


def test_colors_go_together_as_they_do_in_photographs(noise):
    # Few waves hold most of the power, so even 24 images leave an error.
    found = np.mean([np.corrcoef(image.reshape(3, -1)) for image in noise], axis=0)
    assert np.allclose(found, COLOR_CORRELATION, atol=0.06)
    assert np.linalg.eigvalsh(COLOR_CORRELATION).min() > 0


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0),
        ((0.5,) * 3, (0.5,) * 3, 0.5),
        ((0.5,) * 3, (0.2,) * 3, 1.0),
    ],
)
def test_an_image_is_as_contrasty_as_photographs_in_any_normalization(draw, mean, std, expected):
    pixels = torch.stack([draw("pink", index, normalization=Normalization(mean, std)) for index in range(8)])
    # A little less where the range ends.
    assert (pixels.std(dim=(2, 3)).mean(dim=0) / expected - 0.97).abs().max() < 0.04
    assert pixels.mean().abs() < 0.05
