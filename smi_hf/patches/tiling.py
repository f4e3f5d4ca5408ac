"""Patches of several images that share a grid: as many images to a whole one as their kept patches fit into it.

Legend: `B` images, `M` images of one tile, `N` patches of the grid, `K` kept patches, `T` tiles, `C` channels,
`H W` image pixels, `P Q` patch pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.errors import UsageError
from smi_hf.patches.grid import PatchGrid


@dataclass(frozen=True)
class Tiling:
    """What each place of each tile shows. The same for the same kept patches.

    Args:
        image_TN: which image of the set the patch comes from, int64.
        source_TN: its place in that image, int64.
        is_repeat_TN: whether the patch fills a place that would be empty, and is shown elsewhere, too.
    """

    image_TN: Tensor
    source_TN: Tensor
    is_repeat_TN: Tensor

    @property
    def own_place_share(self) -> float:
        """The fraction of all kept patches that are at their own place, in (0, 1]; repeats do not count."""
        own_N = torch.arange(self.source_TN.shape[1], device=self.source_TN.device)
        is_own_TN = (self.source_TN == own_N) & ~self.is_repeat_TN
        return (is_own_TN.sum() / (~self.is_repeat_TN).sum()).item()


def num_images_per_tile(grid: PatchGrid, num_kept: int) -> int:
    """floor(N / K): 4 for 46 or 49 of 196 patches."""
    return grid.num_patches // num_kept


def plan_tiles(kept_BK: Tensor, grid: PatchGrid) -> Tiling:
    """Which patch each place shows, for images in their order, floor(N / K) to a tile and what is left in the last.

    A position embedding tells the model where a patch was, so patches stay where they are as far as possible: every
    place that any image of the tile kept shows the patch of one that did, which no plan exceeds. Where several did, it
    is the one that kept most of the places around, so that regions stay whole. Patches that are left over go to free
    places, nearest pairs first. Places that stay free repeat the patch of the nearest one that is not.

    Args:
        kept_BK: kept patches, int64, each once per image.

    Raises:
        UsageError: a patch is not on the grid.
    """
    if kept_BK.numel() and kept_BK.max() >= grid.num_patches:
        raise UsageError(
            f"an image keeps patch {int(kept_BK.max())}, but the grid has patches 0 to {grid.num_patches - 1}; use a "
            f"model of the grid that the images were made for"
        )
    size = num_images_per_tile(grid, kept_BK.shape[1])
    tiles = [_plan_tile(kept_MK, grid) for kept_MK in kept_BK.split(size)]
    image_TN, source_TN, is_repeat_TN = (torch.stack(each) for each in zip(*tiles))
    first_T1 = torch.arange(len(tiles), device=kept_BK.device)[:, None]
    return Tiling(image_TN + first_T1 * size, source_TN, is_repeat_TN)


def show_tile(pixels_MCHW: Tensor, image_N: Tensor, source_N: Tensor, grid: PatchGrid) -> Tensor:
    """One tile (C, H, W) of images that share it.

    Args:
        pixels_MCHW: the images, of any dtype.
        image_N, source_N: which of them each place shows, and from where, as in a `Tiling` of these images alone.
    """
    patches_NCPQ = grid.cut(pixels_MCHW)[image_N, source_N]
    (pixels_CHW,) = grid.paste(patches_NCPQ[None], grid.all_patches(1))
    return pixels_CHW


def _plan_tile(kept_MK: Tensor, grid: PatchGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Image (of this tile), source place and whether it is a repeat, (N,) each."""
    is_kept_MN = torch.zeros(len(kept_MK), grid.num_patches, dtype=torch.bool).scatter_(1, kept_MK.cpu(), True)
    image_N = _owners(is_kept_MN, grid)
    source_N = torch.where(image_N >= 0, torch.arange(grid.num_patches), -1)
    is_homeless_MN = is_kept_MN & (image_N != torch.arange(len(kept_MK))[:, None])
    for (image, source), place in _nearest_pairs(is_homeless_MN.nonzero(), (image_N < 0).nonzero()[:, 0], grid):
        image_N[place], source_N[place] = image, source
    is_repeat_N = image_N < 0
    filled = (~is_repeat_N).nonzero()[:, 0]
    # Of equally near ones the first.
    nearest = filled[_squared_distances(torch.arange(grid.num_patches), filled, grid).min(dim=1).indices]
    device = kept_MK.device
    return image_N[nearest].to(device), source_N[nearest].to(device), is_repeat_N.to(device)


def _owners(is_kept_MN: Tensor, grid: PatchGrid) -> Tensor:
    """For each place the image whose patch stays there, -1 where none kept it, int64 (N,)."""
    cells = is_kept_MN.float().reshape(-1, 1, grid.rows, grid.columns)
    around_MN = torch.nn.functional.conv2d(cells, torch.ones(1, 1, 3, 3), padding=1).flatten(1)
    most_N, image_N = around_MN.masked_fill(~is_kept_MN, 0).max(dim=0)
    return image_N.masked_fill(most_N == 0, -1)


def _nearest_pairs(patches_L2: Tensor, free_F: Tensor, grid: PatchGrid) -> list[tuple[tuple[int, int], int]]:
    """Each of L patches (image, source place) with a free place of its own, nearest pairs first."""
    order = _squared_distances(patches_L2[:, 1], free_F, grid).flatten().argsort(stable=True)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for patch, place in zip((order // max(len(free_F), 1)).tolist(), (order % max(len(free_F), 1)).tolist()):
        if patch not in pairs and place not in taken:
            pairs[patch] = place
            taken.add(place)
    return [(tuple(patches_L2[patch].tolist()), int(free_F[place])) for patch, place in pairs.items()]


def _squared_distances(from_L: Tensor, to_F: Tensor, grid: PatchGrid) -> Tensor:
    """int64 (L, F), in patches."""
    rows = from_L[:, None] // grid.columns - to_F // grid.columns
    columns = from_L[:, None] % grid.columns - to_F % grid.columns
    return rows**2 + columns**2
