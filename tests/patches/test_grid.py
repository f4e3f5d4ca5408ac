"""The patch grid: cutting, pasting, and which kept patches touch, over grids of every shape."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf.errors import UsageError
from smi_hf.patches import PatchGrid, take_slots
from smi_hf.patches.grid import both_sides

# Derandomised: each run tries the same examples. No deadline: the machine may be busy.
examples = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def sparse_images(draw):
    """A grid, images of its size, and a random kept set for each, in random order."""
    rows, columns, P, Q = draw(st.tuples(*[st.integers(1, 5)] * 4))
    grid = PatchGrid(rows * P, columns * Q, P, Q)
    B, K = draw(st.integers(1, 3)), draw(st.integers(1, grid.num_patches))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels_BCHW = torch.randn(B, 3, *grid.image_size, generator=generator)
    kept_BK = torch.rand(B, grid.num_patches, generator=generator).argsort(dim=1)[:, :K]
    return grid, pixels_BCHW, kept_BK


def patch_of(grid: PatchGrid, y: int, x: int) -> int:
    return y // grid.patch_height * grid.columns + x // grid.patch_width


@examples
@given(sparse_images())
def test_cutting_and_pasting_every_patch_gives_the_image_back(case):
    grid, pixels_BCHW, _ = case
    every_BN = grid.all_patches(len(pixels_BCHW))
    assert torch.equal(grid.paste(grid.cut(pixels_BCHW), every_BN), pixels_BCHW)
    assert torch.equal(grid.paste(grid.cut(pixels_BCHW, every_BN.flip(1)), every_BN.flip(1)), pixels_BCHW)


@examples
@given(sparse_images(), st.floats(-5, 5, width=32))
def test_pasting_shows_the_kept_patches_and_the_fill_elsewhere(case, fill):
    grid, pixels_BCHW, kept_BK = case
    expected_BCHW = pixels_BCHW.clone()
    for image, kept in enumerate(kept_BK.tolist()):
        for y in range(grid.image_height):
            for x in range(grid.image_width):
                if patch_of(grid, y, x) not in kept:
                    expected_BCHW[image, :, y, x] = fill
    assert torch.equal(grid.paste(grid.cut(pixels_BCHW, kept_BK), kept_BK, fill=fill), expected_BCHW)


@examples
@given(sparse_images())
def test_a_fill_of_one_value_a_channel_fills_each_channel_with_its_own(case):
    grid, pixels_BCHW, kept_BK = case
    fill_C = torch.tensor([1.0, 2.0, 3.0])
    pasted_BCHW = grid.paste(grid.cut(pixels_BCHW, kept_BK), kept_BK, fill=fill_C)
    for channel, value in enumerate(fill_C.tolist()):
        alone_B1HW = pixels_BCHW[:, channel : channel + 1]
        assert torch.equal(
            pasted_BCHW[:, channel : channel + 1],
            grid.paste(grid.cut(alone_B1HW, kept_BK), kept_BK, fill=value),
        )


@examples
@given(sparse_images())
def test_cutting_the_kept_patches_equals_choosing_them_from_all_patches(case):
    grid, pixels_BCHW, kept_BK = case
    assert torch.equal(grid.cut(pixels_BCHW, kept_BK), take_slots(grid.cut(pixels_BCHW), kept_BK))


@examples
@given(sparse_images())
def test_the_gradient_of_cut_patches_reaches_exactly_the_kept_pixels(case):
    grid, pixels_BCHW, kept_BK = case
    pixels_BCHW.requires_grad_()
    grid.cut(pixels_BCHW, kept_BK).sum().backward()
    ones_BKCPQ = torch.ones(*kept_BK.shape, 3, *grid.patch_size)
    assert torch.equal(pixels_BCHW.grad, grid.paste(ones_BKCPQ, kept_BK))


def test_patches_are_numbered_row_by_row():
    grid = PatchGrid(4, 6, 2, 2)
    pixels_1CHW = torch.arange(24).reshape(1, 1, 4, 6)
    assert (grid.rows, grid.columns, grid.num_patches) == (2, 3, 6)
    assert grid.all_patches(1).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert grid.cut(pixels_1CHW)[0, 1, 0].tolist() == [[2, 3], [8, 9]]
    assert grid.cut(pixels_1CHW)[0, 3, 0].tolist() == [[12, 13], [18, 19]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.bfloat16])
def test_cut_and_paste_keep_the_type_of_the_pixels(dtype):
    grid = PatchGrid(4, 6, 2, 3)
    pixels_1CHW = torch.arange(72).reshape(1, 3, 4, 6).to(dtype)
    kept_1K = torch.tensor([[3, 0]])
    patches_1KCPQ = grid.cut(pixels_1CHW, kept_1K)
    pasted_1CHW = grid.paste(patches_1KCPQ, kept_1K, fill=7)
    assert patches_1KCPQ.dtype == pasted_1CHW.dtype == dtype
    assert torch.equal(pasted_1CHW[..., :2, :3], pixels_1CHW[..., :2, :3])
    assert (pasted_1CHW[..., :2, 3:] == 7).all()


@examples
@given(sparse_images())
def test_slots_say_where_each_patch_stands_in_the_kept_list(case):
    grid, _, kept_BK = case
    slots = [
        [kept.index(patch) if patch in kept else -1 for patch in range(grid.num_patches)] for kept in kept_BK.tolist()
    ]
    assert grid.slots(kept_BK).tolist() == slots


def neighbour_by_search(grid: PatchGrid, kept: list[int], patch: int, offset: tuple[int, int], *, wrap: bool) -> int:
    row, column = patch // grid.columns + offset[0], patch % grid.columns + offset[1]
    if wrap:
        row, column = row % grid.rows, column % grid.columns
    for slot, other in enumerate(kept):
        if divmod(other, grid.columns) == (row, column):
            return slot
    return -1


@examples
@given(sparse_images(), st.integers(-6, 6), st.integers(-6, 6), st.booleans())
def test_neighbours_at_an_offset_are_those_that_a_search_finds(case, row_offset, column_offset, wrap):
    grid, _, kept_BK = case
    expected = [
        [neighbour_by_search(grid, kept, patch, (row_offset, column_offset), wrap=wrap) for patch in kept]
        for kept in kept_BK.tolist()
    ]
    assert grid.neighbour_slots(kept_BK, row_offset, column_offset, wrap=wrap).tolist() == expected


@examples
@given(sparse_images(), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_neighbour_offsets_may_differ_between_images_and_between_patches(case, seed, one_a_patch, wrap):
    grid, _, kept_BK = case
    generator = torch.Generator().manual_seed(seed)
    shape = kept_BK.shape if one_a_patch else (len(kept_BK), 1)
    row_offsets, column_offsets = (torch.randint(-3, 4, shape, generator=generator) for _ in range(2))
    row_BK, column_BK = row_offsets.expand_as(kept_BK).tolist(), column_offsets.expand_as(kept_BK).tolist()
    expected = [
        [
            neighbour_by_search(grid, kept, patch, (row_BK[image][slot], column_BK[image][slot]), wrap=wrap)
            for slot, patch in enumerate(kept)
        ]
        for image, kept in enumerate(kept_BK.tolist())
    ]
    assert grid.neighbour_slots(kept_BK, row_offsets, column_offsets, wrap=wrap).tolist() == expected


@pytest.mark.parametrize(
    ("image_size", "patch_size", "expected"),
    [
        (32, 8, (32, 32, 8, 8)),
        ([32, 64], 8, (32, 64, 8, 8)),
        ((48, 32), [8, 16], (48, 32, 8, 16)),
        (32, (4, 8), (32, 32, 4, 8)),
    ],
)
def test_sizes_may_be_written_as_one_side_or_as_height_and_width(image_size, patch_size, expected):
    assert PatchGrid.from_sizes(image_size, patch_size) == PatchGrid(*expected)


@pytest.mark.parametrize(
    ("sizes", "side", "image", "patch"),
    [
        ((30, 32, 8, 8), "height", 30, 8),
        ((32, 30, 8, 8), "width", 30, 8),
        ((4, 32, 8, 8), "height", 4, 8),
        ((0, 32, 8, 8), "height", 0, 8),
        ((-8, 32, 8, 8), "height", -8, 8),
        ((32, 32, 8, 0), "width", 32, 0),
        ((32, 32, -8, 8), "height", 32, -8),
    ],
)
def test_patches_that_do_not_tile_the_image_are_refused_with_both_sizes(sizes, side, image, patch):
    message = f"image {side} {image} px is not a positive multiple of the patch {side} {patch} px; use an image size"
    with pytest.raises(UsageError, match=message):
        PatchGrid(*sizes)


def test_images_of_another_size_are_refused_with_both_sizes():
    with pytest.raises(UsageError, match="images of 32x64 px were given, but this grid has 64x32 px"):
        PatchGrid(64, 32, 8, 8).cut(torch.zeros(1, 3, 32, 64))


def test_a_size_is_one_side_or_both():
    assert both_sides(3) == (3, 3) and both_sides([2, 3]) == (2, 3)
