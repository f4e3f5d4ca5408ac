"""Sparse images that share a grid: their pixels and labels."""

from dataclasses import replace

import pytest
import torch

from smi_hf import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.images.tiles import tile_images
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
