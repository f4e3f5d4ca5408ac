"""Starts made ready for a model, and sets of images that never went further."""

import torch

from smi_hf.images.kept import KeptImages
from smi_hf.images.pictures import load_pictures
from smi_hf.models import Teacher
from smi_hf.patches.randomness import image_generator
from smi_hf.starts.base import OpenStart, StartSpec


def open_start(spec: StartSpec, teacher: Teacher) -> OpenStart:
    """A start with the image size and normalization of a model, and the dataset that it names.

    Raises:
        UsageError: the dataset cannot be loaded.
    """
    pictures = load_pictures(spec.argument, teacher) if spec.argument else None
    return OpenStart(spec, teacher.model.grid.image_size, teacher.normalization, pictures)


def start_images(spec: StartSpec, teacher: Teacher, num_images: int, *, seed: int = 0) -> KeptImages:
    """The images that a run of that seed would begin with, every patch kept.

    Raises:
        UsageError: as `open_start`, or a picture of the dataset cannot be read.
    """
    start = open_start(spec, teacher)
    pixels_BCHW = torch.stack([start.draw(image_generator(seed, index), index) for index in range(num_images)])
    return KeptImages(pixels_BCHW, teacher.model.grid.all_patches(num_images), spec.label)
