"""Roll and flip of sparse images, against `torch.roll` and against a search for every pixel."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf.patches import Augmentation, PatchGrid, augment, draw_augmentations, take_slots

# Derandomised: each run tries the same examples. No deadline: the machine may be busy.
examples = settings(max_examples=200, deadline=None, derandomize=True)


@st.composite
def augmented_images(draw):
    """A grid (odd, even and one-pixel patches), images, a kept set for each in random order, and an augmentation."""
    rows, columns, P, Q = draw(st.tuples(*[st.integers(1, 5)] * 4))
    grid = PatchGrid(rows * P, columns * Q, P, Q)
    B, K = draw(st.integers(1, 3)), draw(st.integers(1, grid.num_patches))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels_BCHW = torch.randn(B, 2, *grid.image_size, generator=generator)
    kept_BK = torch.rand(B, grid.num_patches, generator=generator).argsort(dim=1)[:, :K]
    shift = st.integers(-max(grid.image_size), max(grid.image_size))
    shifts = draw(st.lists(st.tuples(shift, shift), min_size=B, max_size=B))
    flips = draw(st.lists(st.booleans(), min_size=B, max_size=B))
    return grid, pixels_BCHW, kept_BK, Augmentation(torch.tensor(shifts), torch.tensor(flips))


def in_grid_order(patches_BKCPQ, places_BK):
    order_BK = places_BK.argsort(dim=1)
    return take_slots(patches_BKCPQ, order_BK), take_slots(places_BK, order_BK)


@examples
@given(augmented_images())
def test_with_every_patch_kept_it_is_roll_then_flip_then_cut_bit_for_bit(case):
    grid, pixels_BCHW, _, augmentation = case
    expected_BCHW = torch.stack(
        [
            pixels_CHW.roll(shift, (1, 2)).flip(2) if flip else pixels_CHW.roll(shift, (1, 2))
            for pixels_CHW, shift, flip in zip(
                pixels_BCHW, augmentation.shift_B2.tolist(), augmentation.flip_B.tolist()
            )
        ]
    )
    every_BN = grid.all_patches(len(pixels_BCHW))
    moved_BNCPQ, places_BN = in_grid_order(*augment(grid.cut(pixels_BCHW), every_BN, augmentation, grid))
    assert torch.equal(places_BN, every_BN)
    assert torch.equal(moved_BNCPQ, grid.cut(expected_BCHW))


def moved_by_search(pixels_CHW, kept: list[int], shift: list[int], flip: bool, grid: PatchGrid):
    """The promise of `augment` for one image, sought pixel by pixel in the rolled image: (patches, places)."""
    (P, Q), (H, W) = grid.patch_size, grid.image_size

    def cells(pixels: int, side: int) -> int:
        """The whole number of patches that leaves a remainder in [-side / 2, side / 2)."""
        return next(n for n in range(-99, 99) if -side <= 2 * (pixels - n * side) < side)

    patches_KCPQ = torch.empty(len(kept), len(pixels_CHW), P, Q)
    places = []
    for slot, patch in enumerate(kept):
        own_row, own_column = divmod(patch, grid.columns)
        row = (own_row + cells(shift[0], P)) % grid.rows
        column = (own_column + cells(shift[1], Q)) % grid.columns  # before the mirror
        for p in range(P):
            for q in range(Q):
                y, x = (row * P + p - shift[0]) % H, (column * Q + q - shift[1]) % W
                if y // P * grid.columns + x // Q not in kept:
                    # The neighbour is pruned: the pixel of this patch that is nearest to the one looked for.
                    offset_y = p - (shift[0] - cells(shift[0], P) * P)
                    offset_x = q - (shift[1] - cells(shift[1], Q) * Q)
                    y = own_row * P + min(range(P), key=lambda inside: abs(inside - offset_y))
                    x = own_column * Q + min(range(Q), key=lambda inside: abs(inside - offset_x))
                patches_KCPQ[slot, :, p, Q - 1 - q if flip else q] = pixels_CHW[:, y, x]
        places.append(row * grid.columns + (grid.columns - 1 - column if flip else column))
    return patches_KCPQ, places


@examples
@given(augmented_images())
def test_the_strip_shows_the_kept_neighbour_or_else_the_nearest_pixel_of_the_patch_itself(case):
    grid, pixels_BCHW, kept_BK, augmentation = case
    moved_BKCPQ, places_BK = augment(grid.cut(pixels_BCHW, kept_BK), kept_BK, augmentation, grid)
    for image, kept in enumerate(kept_BK.tolist()):
        shift, flip = augmentation.shift_B2[image].tolist(), bool(augmentation.flip_B[image])
        patches_KCPQ, places = moved_by_search(pixels_BCHW[image], kept, shift, flip, grid)
        assert places_BK[image].tolist() == places
        assert torch.equal(moved_BKCPQ[image], patches_KCPQ)


def test_one_patch_alone_repeats_its_edge_on_the_side_that_a_roll_uncovers():
    grid = PatchGrid(4, 4, 4, 4)
    grid_of_two = PatchGrid(4, 8, 4, 4)
    row_Q = torch.tensor([1.0, 2.0, 3.0, 4.0])
    patch_11CPQ = row_Q.expand(1, 1, 1, 4, 4)
    roll = Augmentation(torch.tensor([[0, 1]]), torch.tensor([False]))
    alone, place = augment(patch_11CPQ, torch.tensor([[0]]), roll, grid_of_two)
    assert place.tolist() == [[0]]
    assert alone[0, 0, 0, 0].tolist() == [1, 1, 2, 3]
    # On a grid of one patch the patch is its own neighbour around the torus.
    wrapped, _ = augment(patch_11CPQ, torch.tensor([[0]]), roll, grid)
    assert wrapped[0, 0, 0, 0].tolist() == [4, 1, 2, 3]


@examples
@given(augmented_images())
def test_places_are_on_the_grid_and_without_repeats(case):
    grid, pixels_BCHW, kept_BK, augmentation = case
    _, places_BK = augment(grid.cut(pixels_BCHW, kept_BK), kept_BK, augmentation, grid)
    assert places_BK.dtype == torch.int64
    assert places_BK.min() >= 0
    assert places_BK.max() < grid.num_patches
    for places in places_BK.tolist():
        assert len(set(places)) == len(places)


@examples
@given(augmented_images(), st.integers(-4, 4), st.integers(-4, 4))
def test_a_roll_by_whole_patches_is_undone_by_the_roll_back(case, rows, columns):
    grid, pixels_BCHW, kept_BK, augmentation = case
    there_B2 = torch.tensor([rows * grid.patch_height, columns * grid.patch_width]).expand(len(kept_BK), 2)
    # Mirrored, "right" has become "left".
    mirrored_B1 = torch.where(augmentation.flip_B, 1, -1)[:, None]
    back_B2 = torch.cat([-there_B2[:, :1], there_B2[:, 1:] * mirrored_B1], dim=1)
    patches_BKCPQ = grid.cut(pixels_BCHW, kept_BK)
    moved_BKCPQ, places_BK = augment(patches_BKCPQ, kept_BK, Augmentation(there_B2, augmentation.flip_B), grid)
    again_BKCPQ, again_BK = augment(moved_BKCPQ, places_BK, Augmentation(back_B2, augmentation.flip_B), grid)
    assert torch.equal(again_BK, kept_BK)
    assert torch.equal(again_BKCPQ, patches_BKCPQ)


@examples
@given(augmented_images())
def test_no_pruned_pixel_is_ever_shown(case):
    grid, pixels_BCHW, kept_BK, augmentation = case
    patches_BKCPQ = grid.cut(pixels_BCHW, kept_BK)
    poisoned_BCHW = grid.paste(patches_BKCPQ, kept_BK, fill=math.nan)
    moved_BKCPQ, places_BK = augment(patches_BKCPQ, kept_BK, augmentation, grid)
    again_BKCPQ, again_BK = augment(grid.cut(poisoned_BCHW, kept_BK), kept_BK, augmentation, grid)
    assert torch.equal(again_BK, places_BK)
    assert torch.equal(again_BKCPQ, moved_BKCPQ)
    # Nor one of another image or channel: each shown pixel is one of the same image's own kept pixels.
    for image in range(len(kept_BK)):
        for channel in range(2):
            own = set(patches_BKCPQ[image, :, channel].flatten().tolist())
            assert set(moved_BKCPQ[image, :, channel].flatten().tolist()) <= own


@examples
@given(augmented_images())
def test_the_gradient_counts_how_often_each_kept_pixel_is_shown_and_is_zero_elsewhere(case):
    grid, pixels_BCHW, kept_BK, augmentation = case
    pixels_BCHW.requires_grad_()
    moved_BKCPQ, _ = augment(grid.cut(pixels_BCHW, kept_BK), kept_BK, augmentation, grid)
    moved_BKCPQ.sum().backward()
    shown_BN = grid.cut(pixels_BCHW.grad).sum(dim=(2, 3, 4))
    is_kept_BN = grid.slots(kept_BK) >= 0
    assert (shown_BN[~is_kept_BN] == 0).all()
    assert (shown_BN[is_kept_BN] > 0).all()
    assert shown_BN.sum() == moved_BKCPQ.numel()


@examples
@given(augmented_images())
def test_an_image_is_moved_alone_as_it_is_in_a_batch(case):
    grid, pixels_BCHW, kept_BK, augmentation = case
    patches_BKCPQ = grid.cut(pixels_BCHW, kept_BK)
    moved_BKCPQ, places_BK = augment(patches_BKCPQ, kept_BK, augmentation, grid)
    for image in range(len(kept_BK)):
        one = slice(image, image + 1)
        alone = Augmentation(augmentation.shift_B2[one], augmentation.flip_B[one])
        alone_BKCPQ, alone_BK = augment(patches_BKCPQ[one], kept_BK[one], alone, grid)
        assert torch.equal(alone_BKCPQ, moved_BKCPQ[one])
        assert torch.equal(alone_BK, places_BK[one])


def test_an_augmentation_moves_to_a_device_with_both_of_its_tensors():
    moved = Augmentation(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)).to("meta")
    assert moved.shift_B2.is_meta
    assert moved.flip_B.is_meta


def streams(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


WIDE_GRID = PatchGrid(16, 48, 8, 8)


def test_draws_have_one_row_a_step_and_one_column_an_image():
    shifts, flips = draw_augmentations(WIDE_GRID, 5, streams(1, 2, 3))
    assert shifts.shape == (5, 3, 2)
    assert shifts.dtype == torch.int64
    assert flips.shape == (5, 3)
    assert flips.dtype == torch.bool


def test_an_images_draws_depend_on_its_own_stream_alone():
    shifts, flips = draw_augmentations(WIDE_GRID, 20, streams(1, 2, 3))
    for image, seed in enumerate((1, 2, 3)):
        alone_shifts, alone_flips = draw_augmentations(WIDE_GRID, 20, streams(seed))
        assert torch.equal(alone_shifts[:, 0], shifts[:, image])
        assert torch.equal(alone_flips[:, 0], flips[:, image])
    assert not torch.equal(shifts[:, 0], shifts[:, 1])


def test_each_stream_advances_alike_whatever_the_batch():
    together, alone = streams(1, 2), streams(2)
    draw_augmentations(WIDE_GRID, 7, together)
    draw_augmentations(WIDE_GRID, 7, alone)
    assert torch.equal(together[1].get_state(), alone[0].get_state())


@pytest.mark.parametrize(
    ("max_shift", "down", "right"), [(1 / 8, 2, 6), (1 / 4, 4, 12), (0.1, 1, 4), (1 / 64, 0, 0), (0.0, 0, 0)]
)
def test_every_shift_up_to_the_fraction_of_its_side_is_drawn_and_none_beyond(max_shift, down, right):
    # 4000 draws among at most 25 values: the odds to miss one are 25 * (24 / 25) ** 4000 < 1e-69.
    shifts, _ = draw_augmentations(WIDE_GRID, 2000, streams(1, 2), max_shift=max_shift)
    assert sorted(set(shifts[..., 0].flatten().tolist())) == list(range(-down, down + 1))
    assert sorted(set(shifts[..., 1].flatten().tolist())) == list(range(-right, right + 1))


def test_shifts_are_drawn_evenly_and_half_of_the_images_are_flipped():
    shifts, flips = draw_augmentations(WIDE_GRID, 10_000, streams(1))
    # Five standard deviations of a share p of 10,000 draws: 5 * sqrt(p * (1 - p) / 10,000).
    shares = torch.bincount(shifts[..., 0].flatten() + 2, minlength=5) / 10_000
    assert (shares - 1 / 5).abs().max() < 0.02
    assert abs(flips.float().mean() - 0.5) < 0.025
