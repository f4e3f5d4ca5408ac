"""Dead leaves: flat shapes of all sizes that cover each other, as things in photographs do."""

import math
from typing import TYPE_CHECKING

import numpy as np

from smi_hf.starts.base import StartInputs, register_start
from smi_hf.starts.pink import pink_noise

if TYPE_CHECKING:
    from torch import Tensor

# Radii as fractions of the shorter side; below a pixel there is nothing to see.
_SMALLEST, _LARGEST = 1 / 64, 1 / 3
# How often disks alone would cover a pixel, on average; polygons are smaller.
_LAYERS = 6
_MAX_CORNERS = 6
# Standard deviation of the texture, as a fraction of the range from black to white.
_TEXTURE = 0.05


@register_start(
    "dead_leaves",
    "dead leaves",
    "dead leaves: disks and polygons of all sizes that cover each other, with a faint 1/f texture",
    sources="Lee, Mumford and Huang 2001; Baradad et al. 2021, arXiv 2106.05963",
)
def dead_leaves(inputs: StartInputs) -> "Tensor":
    """Leaves of random colors with faint 1/f noise over them."""
    random = inputs.numpy_generator()
    return inputs.from_rgb(leaves(random, inputs.image_size) + _TEXTURE * pink_noise(random, inputs.image_size))


def leaves(random: np.random.Generator, image_size: tuple[int, int]) -> np.ndarray:
    """Flat leaves of random colors, float32 (3, H, W) in [0, 1].

    Source of the colors: Baradad et al., Learning to see by looking at noise (2021).
    """
    top_HW, num_leaves = cover(random, image_size)
    colors = random.random((num_leaves, 3), dtype=np.float32)
    return np.ascontiguousarray(colors[top_HW].transpose(2, 0, 1))


def cover(
    random: np.random.Generator,
    image_size: tuple[int, int],
    *,
    largest: float = _LARGEST,
    layers: float = _LAYERS,
    stretch: float = 0.0,
) -> tuple[np.ndarray, int]:
    """Disks and convex polygons that fall on each other: which one is on top of each pixel, and how many there are.

    Radii have the density r^-3, of which the image is alike at every scale. Source: Lee, Mumford and Huang, Occlusion
    models for natural images (2001).

    Args:
        largest: radius as a fraction of the shorter side.
        layers: how often disks alone would cover a pixel, on average.
        stretch: standard deviation of the logarithm by which a leaf is stretched, in height and in width.

    Returns:
        Numbers of leaves (H, W), int32, and the count above all numbers; 0 is the ground.
    """
    from PIL import Image, ImageDraw

    side = min(image_size)
    smallest, largest = max(1.0, _SMALLEST * side), max(2.0, largest * side)
    # Integrals of r^-3 and of pi r^2 r^-3 from the smallest radius to the largest.
    mean_area = 2 * math.pi * math.log(largest / smallest) / (smallest**-2 - largest**-2)
    num_leaves = math.ceil(layers * image_size[0] * image_size[1] / mean_area)
    radii = (smallest**-2 - random.random(num_leaves) * (smallest**-2 - largest**-2)) ** -0.5
    centers = random.random((num_leaves, 2)) * image_size[::-1]
    top = Image.new("I", (image_size[1], image_size[0]))
    draw = ImageDraw.Draw(top)
    num_corners = random.integers(1, _MAX_CORNERS + 1, num_leaves)
    angles = np.sort(random.random((num_leaves, _MAX_CORNERS)) * 2 * math.pi, axis=1)
    extents = radii[:, None]
    if stretch:
        extents = extents * np.exp(random.normal(0, stretch, (num_leaves, 2)))
    corners = centers[:, None] + extents[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    boxes = np.concatenate([centers - extents, centers + extents], axis=1)
    for number, count in enumerate(num_corners.tolist()):
        if count < 3:
            draw.ellipse(boxes[number].tolist(), fill=number + 1)
        else:
            # The angles increase around the center, so the polygon is convex.
            draw.polygon(corners[number, :count].ravel().tolist(), fill=number + 1)
    return np.asarray(top), num_leaves + 1
