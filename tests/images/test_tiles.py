"""Sparse images that share a grid: their pixels and labels."""

from dataclasses import replace

import pytest
import torch

from smi_hf import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.images.tiles import mixed_tiles, tile_images, whole_images
from smi_hf.patches import PatchGrid
from smi_hf.patches.tiling import plan_tiles

WIDE = PatchGrid(16, 24, 4, 4)


def random_kept(grid, num_images, num_kept, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num_images, grid.num_patches, generator=generator)
    return scores.topk(num_kept, dim=1).indices.sort(dim=1).values


@pytest.mark.parametrize(("num_images", "num_kept"), [(5, 6), (4, 5), (3, 24)])
def test_tiles_show_the_pixels_of_the_kept_patches_and_no_others(num_images, num_kept):
    # Each patch has one value of its own; pruned ones must not be seen.
    values = torch.arange(num_images * 24, dtype=torch.float32).reshape(num_images, 24, 1, 1, 1)
    kept_BK = random_kept(WIDE, num_images, num_kept)
    cells = values.expand(-1, -1, 3, 4, 4)
    pixels = WIDE.paste(cells, WIDE.all_patches(num_images))
    tiles = tile_images(KeptImages(pixels, kept_BK, "made up"), WIDE)
    assert torch.equal(tiles.kept_BK, WIDE.all_patches(len(tiles)))
    expected = {image * 24 + place for image, places in enumerate(kept_BK.tolist()) for place in places}
    assert set(tiles.pixels_BCHW.unique().tolist()) == expected
    tiling = plan_tiles(kept_BK, WIDE)
    shown_TN = WIDE.cut(tiles.pixels_BCHW)[..., 0, 0, 0]
    assert torch.equal(shown_TN, (tiling.image_TN * 24 + tiling.source_TN).float())
    assert tiles.labels_B is None


def test_whole_images_are_left_as_they_are(kept_images, teacher):
    grid = teacher.model.grid
    whole = replace(kept_images, kept_BK=grid.all_patches(len(kept_images)))
    tiles = tile_images(whole, grid)
    assert torch.equal(tiles.pixels_BCHW, whole.pixels_BCHW)
    assert torch.equal(tiles.labels_B, whole.labels_B)


def test_a_tile_has_the_label_of_its_images_if_they_have_one_and_else_none():
    images = KeptImages(torch.zeros(5, 3, 16, 24), random_kept(WIDE, 5, 12), "made up", torch.tensor([2, 2, 1, 3, 3]))
    assert tile_images(images, WIDE).labels_B.tolist() == [2, -100, 3]


def test_a_patch_that_is_not_on_the_grid_is_refused():
    images = KeptImages(torch.zeros(1, 3, 16, 24), torch.tensor([[3, 24]]), "made up")
    with pytest.raises(UsageError, match="an image keeps patch 24, but the grid has patches 0 to 23"):
        tile_images(images, WIDE)


def test_images_of_another_size_are_refused():
    images = KeptImages(torch.zeros(1, 3, 16, 16), torch.tensor([[3]]), "made up")
    with pytest.raises(UsageError, match="images of 16x16 px were given, but this grid has 16x24 px"):
        tile_images(images, WIDE)


def numbered(num_images, num_kept):
    """Images each of whose pixels is the image's number, and random kept patches."""
    numbers = torch.arange(num_images, dtype=torch.float32)
    pixels = numbers[:, None, None, None].expand(-1, 3, 16, 24)
    return KeptImages(pixels, random_kept(WIDE, num_images, num_kept), "made up", numbers.long())


@pytest.mark.parametrize(("num_images", "num_tiles"), [(9, 9), (10, 12)])
def test_in_mixed_tiles_each_image_is_shown_as_often_as_there_are_images_in_a_tile(num_images, num_tiles):
    images = numbered(num_images, 8)
    tiles = mixed_tiles(images, WIDE)
    assert len(tiles) == num_tiles
    shown = [number for tile in tiles.pixels_BCHW for number in tile.unique().tolist()]
    assert sorted(shown) == sorted([*range(num_images)] * 3)
    assert torch.equal(tiles.pixels_BCHW[: num_tiles // 3], tile_images(images, WIDE).pixels_BCHW)
    assert tiles.labels_B.tolist() == [
        -100 if len(tile.unique()) > 1 else int(tile.max()) for tile in tiles.pixels_BCHW
    ]


def test_the_seed_says_who_share_a_mixed_tile():
    one, again, other = (mixed_tiles(numbered(9, 8), WIDE, seed=seed).pixels_BCHW for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    partners = [tuple(tile.unique().tolist()) for tile in one]
    assert len(set(partners)) > 3


def test_whole_images_are_mixed_with_none():
    whole = numbered(4, 24)
    assert torch.equal(mixed_tiles(whole, WIDE).pixels_BCHW, whole.pixels_BCHW)


def test_whole_images_are_given_as_they_are_and_others_share_them(kept_images, teacher):
    grid = teacher.model.grid
    tiled = torch.cat(list(whole_images(kept_images, grid)))
    assert torch.equal(tiled, tile_images(kept_images, grid).pixels_BCHW)
    complete = KeptImages(kept_images.pixels_BCHW, grid.all_patches(len(kept_images.pixels_BCHW)), "whole", None)
    assert torch.equal(torch.cat(list(whole_images(complete, grid))), complete.pixels_BCHW)
