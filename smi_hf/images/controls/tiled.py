"""The sparse images tiled, several to a whole image: what a runtime of fixed shape could be shown instead of gaps."""

from typing import TYPE_CHECKING

from smi_hf.images.controls.base import ControlInputs, register_control

if TYPE_CHECKING:
    from smi_hf.images.kept import KeptImages


@register_control("tiled", "the sparse dataset's images, several sharing the grid of one")
def tiled(inputs: ControlInputs) -> "list[KeptImages]":
    """Fewer images than the sparse set has, with the same patches and labels where all of a tile agree."""
    from smi_hf.images.tiles import tile_images

    return [tile_images(images, inputs.teacher.model.grid) for images in inputs.sparse]
