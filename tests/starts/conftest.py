"""What starts are given, and how their spectra are measured."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smi_hf.patches import Normalization
from smi_hf.patches.randomness import image_generator
from smi_hf.starts.base import OpenStart, StartSpec

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """Draws image `index` of a run, as a model of that size and normalization begins it."""

    def make(name, index=0, *, seed=0, image_size=(64, 64), normalization=IMAGENET, pictures=None) -> torch.Tensor:
        spec = StartSpec(name, "" if pictures is None else "somewhere")
        start = OpenStart(spec, image_size, normalization, pictures)
        return start.draw(image_generator(seed, index), index)

    return make


@pytest.fixture
def slope() -> Callable[[np.ndarray], float]:
    """How the logarithm of amplitude falls with that of frequency, over images (B, C, S, S)."""

    def measure(pixels_BCSS: np.ndarray) -> float:
        side = pixels_BCSS.shape[-1]
        power = (np.abs(np.fft.fft2(pixels_BCSS)) ** 2).mean(axis=(0, 1))
        frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
        # Below, few values; above, the corners of the square.
        edges = np.geomspace(3 / side, 0.4, 9)
        bands = [power[(frequency >= low) & (frequency < high)].mean() for low, high in itertools.pairwise(edges)]
        return np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), 0.5 * np.log(bands), 1)[0]

    return measure
