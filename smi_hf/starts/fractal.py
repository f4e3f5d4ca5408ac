"""Fractals: attractors of random systems of contracting maps, branched and wispy as plants and coasts are."""

import math
from typing import TYPE_CHECKING

import numpy as np

from smi_hf.starts.base import StartInputs, register_start
from smi_hf.starts.pink import pink_noise

if TYPE_CHECKING:
    from torch import Tensor

_NUM_FRACTALS = 3
_MAX_MAPS = 5
# Points that move at once, and how often; the first moves only bring them to the attractor.
_NUM_POINTS, _NUM_MOVES, _NUM_FIRST_MOVES = 1500, 50, 12
# Share of the cells of a square around a fractal that it must reach: less is a few dots or a line, more is a blot.
COVERAGE = (0.12, 0.75)
_COVERAGE_CELLS = 32
_MAX_TRIES = 20
# Side of a fractal, as a fraction of the image's.
_SIZES = (0.6, 1.1)
# Standard deviation of the ground, as a fraction of the range from black to white.
_GROUND = 0.08


@register_start(
    "fractal",
    "fractals",
    "fractals: attractors of random iterated function systems in random colors",
    sources="Kataoka et al. 2020, arXiv 2101.08515; Anderson and Farrell 2022, arXiv 2110.03091",
)
def fractal(inputs: StartInputs) -> "Tensor":
    """Fractals of random place, size and colors over a ground of faint 1/f noise."""
    random = inputs.numpy_generator()
    rgb_CHW = random.random((3, 1, 1), dtype=np.float32) + _GROUND * pink_noise(random, inputs.image_size)
    for _ in range(_NUM_FRACTALS):
        points, colors = attractor(random)
        _paint(rgb_CHW, points, colors, random)
    return inputs.from_rgb(rgb_CHW)


def attractor(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points of a random fractal, (S, 2) in about [0, 1], and their colors, (S, 3) in [0, 1].

    Systems that reach too few or too many cells of their square are drawn again (`COVERAGE`).
    """
    points, colors = _play(random)
    for _ in range(_MAX_TRIES - 1):
        if COVERAGE[0] <= coverage(points) <= COVERAGE[1]:
            break
        points, colors = _play(random)
    return points, colors


def coverage(points: np.ndarray) -> float:
    """Share of the cells of the unit square that have a point in them."""
    cells = (points * _COVERAGE_CELLS).astype(int)
    cells = cells[((cells >= 0) & (cells < _COVERAGE_CELLS)).all(axis=1)]
    return np.count_nonzero(np.bincount(cells @ [_COVERAGE_CELLS, 1])) / _COVERAGE_CELLS**2


def _play(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The chaos game: points move by maps that are drawn in proportion to their areas (Barnsley 1988)."""
    matrices, offsets = _maps(random)
    areas = np.abs(np.linalg.det(matrices)) + 1e-3
    map_colors = random.random((len(matrices), 3))
    points, colors = np.zeros((_NUM_POINTS, 2)), np.full((_NUM_POINTS, 3), 0.5)
    seen = []
    draws = random.choice(len(matrices), (_NUM_MOVES, _NUM_POINTS), p=areas / areas.sum())
    for move, drawn in enumerate(draws):
        points = (matrices[drawn] @ points[:, :, None])[:, :, 0] + offsets[drawn]
        # A point's color says by which maps it came (Draves and Reckase, The fractal flame algorithm, 2003).
        colors = (colors + map_colors[drawn]) / 2
        if move >= _NUM_FIRST_MOVES:
            seen.append((points, colors))
    points, colors = (np.concatenate(column) for column in zip(*seen))
    # Of some points, for speed.
    low, high = np.quantile(points[::16], (0.01, 0.99), axis=0)
    return 0.5 + (points - (low + high) / 2) / max((high - low).max(), 1e-6), colors


def _maps(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random affine maps (M, 2, 2) and (M, 2), each of which brings all points closer together.

    Drawn as rotation, stretch, rotation. Anderson and Farrell (2022, section 3) find the good ones where the sum of
    first and twice second stretches is (5 + M) / 2 to (6 + M) / 2.
    """
    num_maps = random.integers(2, _MAX_MAPS + 1)
    while True:
        stretches = np.sort(random.random((num_maps, 2)), axis=1)[:, ::-1]
        wanted = (5 + num_maps + random.random()) / 2
        stretches = stretches * (wanted / (stretches @ [1, 2]).sum())
        if stretches.max() < 0.95:
            break
    mirrors = random.choice([-1, 1], (num_maps, 2))
    angles = random.random((2, num_maps)) * 2 * math.pi
    first, second = (_rotations(each) for each in angles)
    return first @ ((stretches * mirrors)[:, :, None] * second), random.uniform(-1, 1, (num_maps, 2))


def _rotations(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, 2, 2)


def _paint(rgb_CHW: np.ndarray, points: np.ndarray, colors: np.ndarray, random: np.random.Generator) -> None:
    """Puts a fractal somewhere on an image, in place; denser where more points are."""
    size = np.array(rgb_CHW.shape[1:])
    side = random.uniform(*_SIZES) * size.min()
    places = ((points - 0.5) * side + random.uniform(0.25, 0.75, 2) * size).astype(int)
    is_inside = ((places >= 0) & (places < size)).all(axis=1)
    cells, colors = places[is_inside] @ [size[1], 1], colors[is_inside]
    num_pixels = size.prod()
    counts = np.bincount(cells, minlength=num_pixels)
    sums = np.stack([np.bincount(cells, channel, minlength=num_pixels) for channel in colors.T])
    shown = counts > 0
    strength = 0.4 + 0.6 * np.log1p(counts[shown]) / np.log1p(counts.max(initial=1))
    flat = rgb_CHW.reshape(3, -1)
    flat[:, shown] += strength * (sums[:, shown] / counts[shown] - flat[:, shown])
