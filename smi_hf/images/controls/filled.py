"""The sparse images whole, their pruned patches black: what a runtime of fixed shape would be shown."""

from typing import TYPE_CHECKING

from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages
    from smi_hf.models import VisionClassifier


@register_control("filled", "the sparse dataset's images, every patch, pruned ones black")
def filled(inputs: ControlInputs) -> "list[KeptImages]":
    return [all_patches(images, inputs.teacher.model) for images in inputs.sparse]


def all_patches(images: "KeptImages", model: "VisionClassifier") -> "KeptImages":
    """The same images, every patch kept; what was pruned is black."""
    from smi_hf.images.kept import KeptImages

    every_BN = model.grid.all_patches(len(images))
    return KeptImages(images.pixels_BCHW, every_BN, "inverted, gaps black", images.labels_B)
