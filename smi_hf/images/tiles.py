"""Sparse images in memory that share a grid, several to a whole image, for runtimes of fixed shape.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `T` tiles, `M` images of one tile.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from smi_hf.images.kept import KeptImages
from smi_hf.patches import PatchGrid
from smi_hf.patches.tiling import num_images_per_tile, plan_tiles, show_tile

_NO_LABEL = -100


def tile_images(images: KeptImages, grid: PatchGrid) -> KeptImages:
    """The kept patches of all images in ceil(B / floor(N / K)) whole images; see `plan_tiles`.

    A tile has the label of its images if they have one label, as those of one trajectory of policy `pri` have, else
    none (-100).

    Raises:
        UsageError: the images are not of this grid.
    """
    tiling = plan_tiles(images.kept_BK, grid)
    # Tile by tile: all patches of all images would be several times what the tiles hold.
    size = num_images_per_tile(grid, images.kept_BK.shape[1])
    pixels = [
        show_tile(images.pixels_BCHW[number * size : (number + 1) * size], image_N - number * size, source_N, grid)
        for number, (image_N, source_N) in enumerate(zip(tiling.image_TN, tiling.source_TN))
    ]
    labels_T = (
        None if images.labels_B is None else torch.stack([_shared(part) for part in images.labels_B.split(size)])
    )
    return KeptImages(torch.stack(pixels), grid.all_patches(len(pixels)), "inverted, tiled", labels_T)


def whole_images(images: KeptImages, grid: PatchGrid) -> Iterator[Tensor]:
    """Images (B, C, H, W) of kept patches alone, for graphs that take no others.

    Where every patch is kept, as they are; else the kept patches of several images, tiled.
    """
    is_whole = images.kept_BK.shape[1] == grid.num_patches
    for pixels_BCHW, _ in (images if is_whole else tile_images(images, grid)).batches():
        yield pixels_BCHW


def mixed_tiles(images: KeptImages, grid: PatchGrid, *, seed: int = 0) -> KeptImages:
    """About as many tiles as images, ceil(B / M) * M: each image is in M = floor(N / K) of them, with other partners.

    They are those of `tile_images`, of the images in their order and in M - 1 random ones. The same seed gives the
    same tiles.

    Raises:
        UsageError: as `tile_images`.
    """
    generator = torch.Generator().manual_seed(seed)
    size = num_images_per_tile(grid, images.kept_BK.shape[1])
    shuffled = (images.take(torch.randperm(len(images), generator=generator)) for _ in range(size - 1))
    parts = [tile_images(images, grid), *(tile_images(each, grid) for each in shuffled)]
    pixels, kept = (torch.cat([getattr(part, name) for part in parts]) for name in ("pixels_BCHW", "kept_BK"))
    labels = None if images.labels_B is None else torch.cat([part.labels_B for part in parts])
    return KeptImages(pixels, kept, parts[0].source, labels)


def _shared(labels_M: Tensor) -> Tensor:
    return labels_M[0] if (labels_M == labels_M[0]).all() else torch.full_like(labels_M[0], _NO_LABEL)
