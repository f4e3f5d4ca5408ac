import numpy as np
import pytest

from smi_hf.starts.dead_leaves import leaves


@pytest.fixture
def flat():
    """8 images before the texture, (B, 3, S, S)."""
    random = np.random.default_rng(0)
    return np.stack([leaves(random, (96, 96)) for _ in range(8)])


def test_the_spectrum_falls_as_that_of_photographs(flat, slope):
    # Leaves with sharp edges: amplitude falls a little faster than 1 / frequency.
    assert -1.4 < slope(flat) < -0.9


def test_leaves_are_flat_and_their_edges_are_sharp(flat):
    steps = np.abs(np.diff(flat, axis=3)).max(axis=1)
    assert 0.55 < (steps == 0).mean() < 0.95
    # Two colors that are drawn alone are nearly never close in all three channels.
    assert (steps[steps > 0] > 0.1).mean() > 0.95


def test_leaves_cover_the_ground_and_are_of_all_sizes(flat):
    for image in flat:
        _, areas = np.unique(image.reshape(3, -1).T, axis=0, return_counts=True)
        assert len(areas) > 100 and areas.max() < 0.5 * 96 * 96
        assert (areas < 10).any() and areas.max() > 300


def test_the_texture_is_faint(draw):
    from smi_hf.patches import Normalization

    pixels = draw("dead_leaves", normalization=Normalization((0.0,) * 3, (1.0,) * 3)).numpy()
    steps = np.abs(np.diff(pixels, axis=2)).max(axis=0)
    assert (steps > 0).mean() > 0.99  # no longer flat
    assert np.median(steps) < 0.1


def test_wide_and_small_images_have_leaves_everywhere():
    image = leaves(np.random.default_rng(0), (16, 64))
    assert image.shape == (3, 16, 64)
    quarters = np.split(image, 4, axis=2)
    assert all(len(np.unique(quarter.reshape(3, -1).T, axis=0)) > 5 for quarter in quarters)
