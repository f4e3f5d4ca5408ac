"""Gaussian noise."""

from typing import TYPE_CHECKING

from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.models import VisionClassifier


@register_control("gaussian", "Gaussian noise")
def gaussian(inputs: ControlInputs) -> "list[KeptImages]":
    return [gaussian_noise(inputs.teacher.model, inputs.num_images, seed=seed) for seed in inputs.seeds]


def gaussian_noise(model: "VisionClassifier", num_images: int, *, seed: int = 0) -> "KeptImages":
    """N(0, 1) in normalized units, every patch kept; the same seed gives the same noise."""
    import torch

    from smi_hf.images.kept import KeptImages

    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(num_images, model.num_channels, *model.grid.image_size, generator=generator)
    return KeptImages(pixels, model.grid.all_patches(num_images), "Gaussian noise")
