"""Scenes: dead leaves with the variety of photographs, from plain skies to grass, in sun and shade, sharp and blurred.

Legend: `C` channels, `H W` image pixels.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from smi_hf.starts.base import StartInputs, register_start
from smi_hf.starts.dead_leaves import cover
from smi_hf.starts.pink import COLOR_MIX, frequencies, pink_noise

if TYPE_CHECKING:
    from torch import Tensor

# Of the pixels of photographs (ImageNet), red, green and blue.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Leaves as large as the image, skies and walls, of which much is seen; many are long, as limbs and trunks are.
_LARGEST, _LAYERS, _STRETCH = 1.0, 4, 0.8
# All that follows is in units of the standard deviation of photographs, but for the blur.
# Of the leaves' colors.
_COLORS = 0.8
# Textures: amplitude on average; standard deviation of its logarithm over leaves; power of 1 / frequency.
_TEXTURE, _TEXTURE_SPREAD, _TEXTURE_SLOPES = 0.15, 1.3, (1.0, 1.6)
# Light that varies slowly over the image.
_SHADE, _SHADE_SLOPE = 0.3, 2.0
# Standard deviation of the blur in pixels of an image of 224.
_BLURS = (0.0, 1.5)
# Over images: of the logarithm of contrast, of brightness, and of each channel's own brightness.
_CONTRAST, _BRIGHTNESS, _TINT = 0.35, 0.5, 0.15


@register_start(
    "scenes",
    "scenes",
    "scenes: dead leaves of natural colors, plain and rough, in uneven light, sharp and blurred",
    sources="Lee, Mumford and Huang 2001; Ruderman 1994; Baradad et al. 2021, arXiv 2106.05963",
)
def scenes(inputs: StartInputs) -> "Tensor":
    """Leaves that differ in texture, and images that differ in blur, contrast and brightness.

    Dead leaves and 1/f noise have the spectrum of photographs, but every patch of them is as rough as every other. A
    photograph has patches without any contrast beside sharp edges and fur, and a model's first blocks tell: in the
    benchmarks, cutting MLPs with scenes keeps half as much again as with either (`recipes/benchmarks/README.md`).
    """
    random = inputs.numpy_generator()
    height, width = inputs.image_size
    top_HW, num_leaves = cover(random, inputs.image_size, largest=_LARGEST, layers=_LAYERS, stretch=_STRETCH)
    colors = _COLORS * random.standard_normal((num_leaves, 3)) @ COLOR_MIX.T
    amplitudes = _TEXTURE * np.exp(random.normal(-(_TEXTURE_SPREAD**2) / 2, _TEXTURE_SPREAD, num_leaves))
    texture_CHW = pink_noise(random, inputs.image_size, slope=random.uniform(*_TEXTURE_SLOPES))
    scene_CHW = colors[top_HW].transpose(2, 0, 1) + amplitudes[top_HW] * texture_CHW
    scene_CHW += _SHADE * pink_noise(random, inputs.image_size, slope=_SHADE_SLOPE)
    scene_CHW = blurred(scene_CHW, random.uniform(*_BLURS) * min(height, width) / 224)
    contrast = math.exp(random.normal(0, _CONTRAST))
    brightness_C11 = random.normal(0, _BRIGHTNESS) + random.normal(0, _TINT, (3, 1, 1))
    scene_CHW = contrast * scene_CHW + brightness_C11
    return inputs.from_rgb(np.reshape(_MEAN, (3, 1, 1)) + np.reshape(_STD, (3, 1, 1)) * scene_CHW)


def blurred(pixels_CHW: np.ndarray, width: float) -> np.ndarray:
    """An image under a Gaussian of that standard deviation in pixels, whose edges fit together."""
    size = pixels_CHW.shape[1:]
    passed = np.exp(-2 * (math.pi * width * frequencies(size)) ** 2)
    return np.fft.irfft2(np.fft.rfft2(pixels_CHW) * passed, s=size)
