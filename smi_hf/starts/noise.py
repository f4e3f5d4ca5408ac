"""Gaussian noise: what Sparse Model Inversion starts from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smi_hf.starts.base import StartInputs, register_start

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register_start(
    "noise",
    "Gaussian noise",
    "Gaussian noise, each pixel by itself, mean 0 and variance 1 in normalized units",
    sources="Sparse Model Inversion, arXiv 2510.27186",
)
def noise(inputs: StartInputs) -> "Tensor":
    """N(0, 1) in normalized units, not clamped: the first optimization step does that."""
    return gaussian_noise(len(inputs.normalization.mean), inputs.image_size, inputs.generator)


def gaussian_noise(num_channels: int, image_size: Sequence[int], generator: "torch.Generator") -> "Tensor":
    """N(0, 1), float32 (C, H, W), from the next draws of a stream."""
    import torch

    return torch.randn(num_channels, *image_size, generator=generator)
