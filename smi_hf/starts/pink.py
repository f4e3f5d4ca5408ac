"""1/f noise: the spectrum and the colors of photographs, and nothing in them."""

from typing import TYPE_CHECKING

import numpy as np

from smi_hf.starts.base import StartInputs, register_start

if TYPE_CHECKING:
    from torch import Tensor

# Correlation of red, green and blue over the pixels of ImageNet, from the color statistics in Olah, Mordvintsev and
# Schubert, Feature Visualization (Distill, 2017), which optimize images in decorrelated colors.
COLOR_CORRELATION = np.array([[1.0, 0.91, 0.79], [0.91, 1.0, 0.91], [0.79, 0.91, 1.0]])
# Of independent colors it makes ones that are correlated so.
COLOR_MIX = np.linalg.cholesky(COLOR_CORRELATION)
# About that of photographs, as a fraction of the range from black to white.
_LARGEST_STD = 0.25


@register_start(
    "pink",
    "1/f noise",
    "1/f noise: amplitudes fall with frequency and colors go together as in photographs",
    sources="Field 1987; Ruderman 1994; colors after Olah et al. 2017",
)
def pink(inputs: StartInputs) -> "Tensor":
    """1/f noise around the mean color, of standard deviation 1, or a quarter of the range where that is less."""
    std_C11 = np.asarray(inputs.normalization.std, dtype=np.float32)[:, None, None]
    noise_CHW = pink_noise(inputs.numpy_generator(), inputs.image_size)
    return inputs.in_range(inputs.ordered(noise_CHW) * np.minimum(1, _LARGEST_STD / std_C11))


def pink_noise(random: np.random.Generator, image_size: tuple[int, int], *, slope: float = 1.0) -> np.ndarray:
    """Noise whose amplitude is proportional to 1 / frequency, float32 (3, H, W); each channel has mean 0, std 1.

    Colors are correlated as in `COLOR_CORRELATION`. Left and right edges fit together, so do top and bottom.

    Args:
        slope: power of the frequency; above 1 it is smoother.

    Source: Field, Relations between the statistics of natural images and the response properties of cortical cells
    (1987); Ruderman, The statistics of natural images (1994).
    """
    height, width = image_size
    white_CHW = random.standard_normal((3, height, width), dtype=np.float32)
    frequency = frequencies(image_size)
    frequency[0, 0] = np.inf  # no mean
    fields_CHW = np.fft.irfft2(np.fft.rfft2(white_CHW) / frequency**slope, s=image_size)
    return _of_unit_std(np.einsum("dc,chw->dhw", COLOR_MIX, _of_unit_std(fields_CHW))).astype(np.float32)


def frequencies(image_size: tuple[int, int]) -> np.ndarray:
    """Of each coefficient of `np.fft.rfft2` of an image, in cycles a pixel, (H, W // 2 + 1)."""
    return np.hypot(np.fft.fftfreq(image_size[0])[:, None], np.fft.rfftfreq(image_size[1]))


def _of_unit_std(fields_CHW: np.ndarray) -> np.ndarray:
    return fields_CHW / fields_CHW.std(axis=(1, 2), keepdims=True)
