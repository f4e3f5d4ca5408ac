import numpy as np
import pytest

from smi_hf.starts import fractal as module
from smi_hf.starts.fractal import COVERAGE, attractor, coverage


def test_a_fractal_is_neither_a_few_dots_nor_a_blot():
    random = np.random.default_rng(0)
    for _ in range(20):
        points, colors = attractor(random)
        assert COVERAGE[0] <= coverage(points) <= COVERAGE[1]
        # Most of it is in its square, which it fills from side to side.
        assert (np.abs(points - 0.5) <= 0.51).all(axis=1).mean() > 0.95
        assert np.ptp(points, axis=0).max() > 0.95
        assert colors.min() >= 0 and colors.max() <= 1 and colors.std(axis=0).max() > 0.01


def test_coverage_counts_cells():
    assert coverage(np.array([[0.5, 0.5], [0.501, 0.501], [2.0, 0.0], [-0.1, 0.0]])) == 1 / 32**2
    assert coverage(np.stack(np.meshgrid(*[np.arange(0, 1, 1 / 64)] * 2), axis=-1).reshape(-1, 2)) == 1


def test_systems_that_make_no_picture_are_drawn_again(monkeypatch):
    dot, good = np.full((100, 2), 0.5), np.random.default_rng(0).random((500, 2))
    played = iter([(dot, "dot"), (dot, "dot"), (good, "good"), (dot, "dot")])
    monkeypatch.setattr(module, "_play", lambda random: next(played))
    assert attractor(np.random.default_rng(0))[1] == "good"


def test_maps_bring_points_closer_together():
    random = np.random.default_rng(0)
    for _ in range(50):
        matrices, offsets = module._maps(random)
        assert 2 <= len(matrices) == len(offsets) <= 5
        stretches = np.linalg.svd(matrices, compute_uv=False)
        assert stretches.max() < 0.95
        weight = (stretches @ [1, 2]).sum()
        assert (5 + len(matrices)) / 2 <= weight + 1e-9 and weight <= (6 + len(matrices)) / 2 + 1e-9


@pytest.mark.parametrize("index", range(4))
def test_an_image_shows_fractals_and_ground(draw, index):
    from smi_hf.patches import Normalization

    shown = draw("fractal", index, image_size=(96, 96), normalization=Normalization((0.0,) * 3, (1.0,) * 3)).numpy()
    # The ground is one color, faintly textured: far from the median is fractal.
    far = np.abs(shown - np.median(shown, axis=(1, 2), keepdims=True)).max(axis=0) > 0.25
    assert 0.02 < far.mean() < 0.8
