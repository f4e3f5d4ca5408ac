"""Sparse images as a student and its teacher are both shown them: their kept patches, or several in a whole image.

Legend: `N` patches of the grid, `K` kept patches.
"""

from smi_hf.distillation.batches import Images
from smi_hf.images.kept import KeptImages
from smi_hf.images.tiles import mixed_tiles, tile_images
from smi_hf.patches import PatchGrid

KEPT, TILED = "kept", "tiled"
SHOWN = (KEPT, TILED)


def as_tiles(images: Images, grid: PatchGrid, *, seed: int | None = None) -> KeptImages:
    """Images as tiles, in memory; whole images stay as they are.

    Args:
        seed: about as many tiles as images, of partners drawn with it; None shows each image once.

    Raises:
        UsageError: the images are not of this grid.
    """
    batch = images.batch(list(range(len(images))))
    kept = KeptImages(batch["pixel_values"], batch["kept_patches"], "images to tile", batch["labels"])
    return tile_images(kept, grid) if seed is None else mixed_tiles(kept, grid, seed=seed)


def label_as_shown(images: KeptImages, grid: PatchGrid, shown: str) -> str:
    """Where images come from, as a row of a table says it."""
    if shown == KEPT or images.kept_BK.shape[1] == grid.num_patches:
        return images.source
    return f"{images.source.removesuffix(', kept patches')}, {shown}"
