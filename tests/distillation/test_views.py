import pytest
import torch

from smi_hf.distillation.views import AUGMENTATIONS, make_views
from smi_hf.patches import PatchGrid

GRID = PatchGrid.from_sizes(32, 8)
every_augmentation = pytest.mark.parametrize("augmentations", [[name] for name in AUGMENTATIONS] + [AUGMENTATIONS])


def views_of(images, augmentations, *, views, seed=0, numbers=None):
    """Views of some images (all of them if None)."""
    numbers = list(range(len(images))) if numbers is None else numbers
    views = [views] * len(numbers) if isinstance(views, int) else views
    batch = images.batch(numbers)
    return make_views(
        batch["pixel_values"],
        batch["kept_patches"],
        GRID,
        augmentations,
        seed=seed,
        image_indices=numbers,
        views=views,
    )


@pytest.mark.parametrize("augmentations", [[], ["flip"], ["shift"], ["color"], ["flip", "shift", "color"]])
def test_view_0_is_the_image_as_it_is(images, augmentations):
    patches, kept = views_of(images, augmentations, views=0)
    assert torch.equal(kept, images.kept_BK)
    assert torch.equal(patches, GRID.cut(images.pixels_BCHW, images.kept_BK))


@every_augmentation
def test_a_view_is_the_same_whatever_the_batch(images, augmentations):
    views = [number % 4 for number in range(len(images))]
    patches, kept = views_of(images, augmentations, views=views)
    for numbers in ([3], [5, 4], [17, 0, 8]):
        some_patches, some_kept = views_of(
            images, augmentations, views=[views[number] for number in numbers], numbers=numbers
        )
        assert torch.equal(some_patches, patches[numbers]) and torch.equal(some_kept, kept[numbers])


@every_augmentation
def test_another_view_image_or_seed_gives_another_one(make_images, augmentations):
    # Twenty times the same image: its number alone makes the difference.
    images = make_images(1)
    same = make_views(
        images.pixels_BCHW.expand(20, -1, -1, -1),
        images.kept_BK.expand(20, -1),
        GRID,
        augmentations,
        seed=0,
        image_indices=[0] * 10 + list(range(10)),
        views=[*range(1, 11), *[1] * 10],
    )
    other_seed, _ = views_of(images, augmentations, views=1, seed=1)
    distinct = torch.stack([*same[0].flatten(1), other_seed.flatten()]).unique(dim=0)
    # A flip has 2 outcomes and a subset of 4 of 6 patches 15; the other augmentations never came out alike.
    assert len(distinct) >= {"flip": 2, "subset": 8}.get(augmentations[0] if len(augmentations) == 1 else "all", 15)


@every_augmentation
def test_a_pruned_pixel_never_shows(images, augmentations):
    shown = GRID.paste(torch.ones(len(images), 6, 3, 8, 8), images.kept_BK).bool()
    loud = type(images)(images.pixels_BCHW.where(shown, torch.tensor(1e4)), images.kept_BK, "loud")
    for view in (1, 2, 3):
        expected, got = (views_of(each, augmentations, views=view) for each in (images, loud))
        assert torch.equal(got[0], expected[0]) and torch.equal(got[1], expected[1])


def dense(patches, kept):
    return GRID.paste(patches, kept)


def test_flip_and_shift_are_those_of_the_dense_image(make_images):
    images = make_images(12, num_kept=16)
    patches, kept = views_of(images, ["flip", "shift"], views=1)
    found = []
    for image, view in zip(images.pixels_BCHW, dense(patches, kept)):
        # 1/8 of 32 px either way, then mirrored or not: every outcome there is.
        outcomes = [
            (down, right, flipped)
            for down in range(-4, 5)
            for right in range(-4, 5)
            for flipped in (False, True)
            if torch.equal(_moved(image, down, right, flipped), view)
        ]
        assert len(outcomes) == 1
        found += outcomes
    downs, rights, flips = (set(column) for column in zip(*found))
    assert len(downs) > 2 and len(rights) > 2 and flips == {False, True}


def _moved(image, down, right, flipped):
    image = image.roll((down, right), dims=(1, 2))
    return image.flip(2) if flipped else image


def test_flip_alone_does_not_shift_and_shift_alone_does_not_flip(make_images):
    images = make_images(12, num_kept=16)
    flipped = dense(*views_of(images, ["flip"], views=1))
    for image, view in zip(images.pixels_BCHW, flipped):
        assert torch.equal(view, image) or torch.equal(view, image.flip(2))
    shifted = dense(*views_of(images, ["shift"], views=1))
    for image, view in zip(images.pixels_BCHW, shifted):
        assert any(
            torch.equal(_moved(image, down, right, False), view) for down in range(-4, 5) for right in range(-4, 5)
        )


def test_color_changes_contrast_and_brightness_of_the_whole_image_a_little(images):
    patches, kept = views_of(images, ["color"], views=1)
    assert torch.equal(kept, images.kept_BK)
    plain = GRID.cut(images.pixels_BCHW, images.kept_BK).flatten(1)
    for before, after in zip(plain, patches.flatten(1)):
        line = torch.stack([before, torch.ones_like(before)], dim=1)
        (contrast, brightness), *_ = torch.linalg.lstsq(line, after)
        assert torch.allclose(contrast * before + brightness, after, atol=1e-5)
        assert abs(contrast - 1) <= 0.3 and abs(brightness) <= 0.3
        assert contrast != 1 and brightness != 0


def test_a_subset_is_three_quarters_of_the_patches_where_they_were(make_images):
    images = make_images(6, num_kept=8)
    patches, kept = views_of(images, ["subset"], views=2)
    assert kept.shape == (6, 6) and patches.shape[:2] == (6, 6)
    for number in range(6):
        assert set(kept[number].tolist()) < set(images.kept_BK[number].tolist())
        assert len(set(kept[number].tolist())) == 6
    assert torch.equal(patches, GRID.cut(images.pixels_BCHW, kept))


def test_every_view_of_a_subset_is_drawn_at_random(make_images):
    images = make_images(30, num_kept=8)
    for view in (0, 1):
        _, kept = views_of(images, ["subset"], views=view)
        dropped_last = [images.kept_BK[number, -1] not in kept[number] for number in range(30)]
        # Of 8 patches 2 go: 7.5 of 30 expected, all or none in one case of 5,000.
        assert 0 < sum(dropped_last) < 30


def test_a_single_patch_survives_a_subset(make_images):
    images = make_images(2, num_kept=1)
    assert views_of(images, ["subset"], views=1)[1].shape == (2, 1)
