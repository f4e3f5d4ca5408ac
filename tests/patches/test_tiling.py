"""Which patch each place of a tile shows: every patch once, and most where they were."""

import pytest
import torch

from smi_hf.patches import PatchGrid
from smi_hf.patches.tiling import num_images_per_tile, plan_tiles, show_tile

WIDE = PatchGrid(16, 24, 4, 4)
DEIT = PatchGrid(224, 224, 16, 16)


def random_kept(grid, num_images, num_kept, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num_images, grid.num_patches, generator=generator)
    return scores.topk(num_kept, dim=1).indices.sort(dim=1).values


def shown(tiling):
    """(image, source place) of all that is no repeat, and the same with the number of the tile."""
    once = ~tiling.is_repeat_TN
    return list(zip(tiling.image_TN[once].tolist(), tiling.source_TN[once].tolist()))


@pytest.mark.parametrize(
    ("grid", "num_images", "num_kept", "num_tiles"),
    [
        (DEIT, 8, 49, 2),
        (DEIT, 7, 46, 2),
        (DEIT, 1, 1, 1),
        (DEIT, 5, 100, 5),
        (DEIT, 3, 66, 2),
        (WIDE, 5, 8, 2),
        (WIDE, 9, 5, 3),
        (WIDE, 2, 24, 2),
    ],
)
def test_each_kept_patch_of_each_image_is_shown_once_and_no_place_is_empty(grid, num_images, num_kept, num_tiles):
    kept_BK = random_kept(grid, num_images, num_kept)
    tiling = plan_tiles(kept_BK, grid)
    assert tiling.image_TN.shape == (num_tiles, grid.num_patches)
    expected = [(image, place) for image, places in enumerate(kept_BK.tolist()) for place in places]
    assert sorted(shown(tiling)) == sorted(expected)
    # Repeats are patches that are kept, of images of the same tile.
    assert set(zip(tiling.image_TN.flatten().tolist(), tiling.source_TN.flatten().tolist())) == set(expected)
    size = num_images_per_tile(grid, num_kept)
    for number, image_N in enumerate(tiling.image_TN):
        assert set(image_N.tolist()) == set(range(number * size, min((number + 1) * size, num_images)))


def test_every_place_that_was_kept_shows_a_patch_of_that_place():
    kept_BK = random_kept(DEIT, 4, 46)
    tiling = plan_tiles(kept_BK, DEIT)
    kept = kept_BK.unique()
    assert torch.equal(tiling.source_TN[0, kept], kept)
    assert tiling.own_place_share == pytest.approx(len(kept) / (4 * 46))


def test_images_that_share_no_patch_stay_where_they_are():
    kept_BK = torch.randperm(196, generator=torch.Generator().manual_seed(0)).reshape(4, 49).sort(dim=1).values
    tiling = plan_tiles(kept_BK, DEIT)
    assert tiling.own_place_share == 1
    assert torch.equal(tiling.source_TN, torch.arange(196)[None])
    assert not tiling.is_repeat_TN.any()


def test_a_patch_of_a_region_stays_and_a_lonely_one_gives_way_to_the_nearest_free_place():
    # Place 9 of 4 x 6 is the middle of what the second image kept, and all that the first kept there.
    lonely, region = [9, 18, 19, 20], [8, 9, 14, 15]
    (image_N,), (source_N,) = (lambda tiling: (tiling.image_TN, tiling.source_TN))(
        plan_tiles(torch.tensor([lonely, region]), WIDE)
    )
    assert image_N[9] == 1
    moved = [place for place in range(24) if (image_N[place], source_N[place]) == (0, 9)]
    # Up or right: left and down are taken.
    assert 3 in moved and source_N[3] == 9


def test_empty_places_repeat_their_nearest_patch():
    tiling = plan_tiles(torch.tensor([[0, 23]]), WIDE)
    assert tiling.is_repeat_TN.sum() == 22
    assert tiling.source_TN[0, [1, 6, 2]].tolist() == [0, 0, 0]
    assert tiling.source_TN[0, [22, 17, 21]].tolist() == [23, 23, 23]


def test_a_plan_is_the_same_every_time():
    kept_BK = random_kept(DEIT, 6, 46)
    first, second = plan_tiles(kept_BK, DEIT), plan_tiles(kept_BK.clone(), DEIT)
    assert torch.equal(first.image_TN, second.image_TN) and torch.equal(first.source_TN, second.source_TN)


def test_a_tile_shows_the_pixels_that_the_plan_says_of_any_dtype():
    pixels_MCHW = torch.arange(2 * 24, dtype=torch.uint8).reshape(2, 24, 1, 1, 1).expand(-1, -1, 3, 4, 4)
    pixels_MCHW = WIDE.paste(pixels_MCHW, WIDE.all_patches(2))
    tiling = plan_tiles(random_kept(WIDE, 2, 9), WIDE)
    tile_CHW = show_tile(pixels_MCHW, tiling.image_TN[0], tiling.source_TN[0], WIDE)
    assert tile_CHW.dtype == torch.uint8
    shown_N = WIDE.cut(tile_CHW[None])[0, :, 0, 0, 0]
    assert torch.equal(shown_N.long(), tiling.image_TN[0] * 24 + tiling.source_TN[0])
