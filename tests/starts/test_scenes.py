import numpy as np
import pytest
import torch

from smi_hf.patches import Normalization
from smi_hf.starts.scenes import blurred


@pytest.fixture
def roughness(draw):
    """Mean step between neighbors in every patch of 16 pixels of 24 images of a start, (image, patch)."""

    def measure(name):
        images = torch.stack([draw(name, index, image_size=(96, 96)) for index in range(24)]).mean(dim=1)
        steps = images.diff(dim=2).abs()[:, :, :95]
        return torch.nn.functional.avg_pool2d(steps[:, None], 16, ceil_mode=True).flatten(1)

    return measure


def test_patches_are_from_plain_to_rough_as_in_photographs(roughness):
    # Of random patches of 64 photographs, the tenth plainest have a 35th of the roughness of the tenth roughest.
    found = {name: roughness(name).flatten().quantile(torch.tensor([0.1, 0.5, 0.9])) for name in ("scenes", "pink")}
    low, _, high = found["scenes"]
    assert high / low > 3.5
    low, _, high = found["pink"]
    assert high / low < 2


def test_images_differ_in_contrast_and_in_brightness(draw):
    normalization = Normalization((0.0,) * 3, (1.0,) * 3)
    images = torch.stack([draw("scenes", index, normalization=normalization) for index in range(32)])
    contrasts, means = images.std(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3))
    assert contrasts.max() > 1.8 * contrasts.min()
    assert 0.05 < means.std() < 0.2 and abs(means.mean() - 0.45) < 0.06
    assert images.min() >= 0 and images.max() <= 1


def test_a_scene_is_the_same_in_any_normalization(draw):
    one, other = (Normalization((mean,) * 3, (std,) * 3) for mean, std in ((0.0, 1.0), (0.5, 0.25)))
    expected = (draw("scenes", 4, normalization=one) - 0.5) / 0.25
    assert torch.allclose(draw("scenes", 4, normalization=other), expected, atol=1e-5)


def test_a_blur_spreads_a_point_as_its_width_says_and_loses_no_light():
    point = np.zeros((1, 32, 48))
    point[0, 16, 24] = 1
    assert np.allclose(blurred(point, 0.0), point)
    spread = blurred(point, 2.0)[0]
    rows, columns = np.mgrid[:32, :48]
    assert np.isclose(spread.sum(), 1)
    assert np.isclose((spread * (rows - 16) ** 2).sum(), 4, rtol=1e-2)
    assert np.isclose((spread * (columns - 24) ** 2).sum(), 4, rtol=1e-2)


def test_the_spectrum_falls_as_that_of_photographs(draw, slope):
    images = np.stack([draw("scenes", index, image_size=(96, 96)).numpy() for index in range(24)])
    assert -1.7 < slope(images) < -1.0
