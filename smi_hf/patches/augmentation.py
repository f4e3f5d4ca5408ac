"""Roll and flip of sparse images: only kept patches are moved, and each says where on the grid it went.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.patches.grid import PatchGrid


@dataclass(frozen=True)
class Augmentation:
    """One roll and flip an image.

    Args:
        shift_B2: int64 (B, 2), pixels by which an image is rolled down and to the right.
        flip_B: bool (B,), whether the rolled image is then mirrored left to right.
    """

    shift_B2: Tensor
    flip_B: Tensor

    def to(self, device: torch.device | str) -> "Augmentation":
        return Augmentation(self.shift_B2.to(device), self.flip_B.to(device))


def draw_augmentations(
    grid: PatchGrid,
    num_steps: int,
    generators: list[torch.Generator],
    *,
    max_shift: float = 1 / 8,
    flip_probability: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """All rolls and flips of a trajectory, each image from a random stream of its own.

    Args:
        generators: one CPU generator an image; each advances by the same number of draws whatever the batch.
        max_shift: largest roll as a fraction of the image side (the paper's 1/8).
        flip_probability: in [0, 1] (the paper's 1/2).

    Returns:
        Pixels to roll, int64 (num_steps, B, 2) in [-max, max], and whether to flip, bool (num_steps, B).
    """
    limits = [int(side * max_shift) for side in grid.image_size]
    shifts, flips = [], []
    for generator in generators:
        draws = torch.rand(num_steps, 3, generator=generator, dtype=torch.float64)
        spans = torch.tensor([2 * limit + 1 for limit in limits], dtype=torch.float64)
        shifts.append((draws[:, :2] * spans).floor().long() - torch.tensor(limits))
        flips.append(draws[:, 2] < flip_probability)
    return torch.stack(shifts, dim=1), torch.stack(flips, dim=1)


def augment(
    patches_BKCPQ: Tensor, kept_BK: Tensor, augmentation: Augmentation, grid: PatchGrid
) -> tuple[Tensor, Tensor]:
    """Rolls and flips images of which only some patches exist, at a cost that grows with K.

    The index map: a roll by s pixels moves each kept patch by round(s / patch side) cells around the torus of the
    grid, and its pixels by the remainder, at most half a patch. The strip that this uncovers shows the neighbour from
    which it came where that is kept, as after `torch.roll`; else the nearest pixel of the patch itself is repeated,
    so that no pruned pixel is ever looked at. With every patch kept this *is* roll, flip and cut, bit for bit.
    Differs from SMI: there the strip shows stale pixels of stopped patches, which thereby keep acting on the image
    (`tests/patches/test_augmentation.py`).

    Args:
        patches_BKCPQ: kept patches, (B, K, C, P, Q).
        kept_BK: their places on the grid, int64 (B, K), without repeats in an image.

    Returns:
        The moved patches (B, K, C, P, Q), and the place of each on the grid, int64 (B, K), without repeats.
    """
    P, Q = grid.patch_size
    size_2 = torch.tensor([P, Q], device=kept_BK.device)
    cells_B2 = torch.div(augmentation.shift_B2 + size_2 // 2, size_2, rounding_mode="floor")
    rest_B2 = augmentation.shift_B2 - cells_B2 * size_2  # in [-side / 2, side / 2)

    row_BK = (kept_BK // grid.columns + cells_B2[:, :1]) % grid.rows
    column_BK = (kept_BK % grid.columns + cells_B2[:, 1:]) % grid.columns
    column_BK = torch.where(augmentation.flip_B[:, None], grid.columns - 1 - column_BK, column_BK)

    source_BKPQ = _source_pixels(kept_BK, rest_B2, augmentation.flip_B, grid)
    B, K, C = patches_BKCPQ.shape[:3]
    pixels_BCL = patches_BKCPQ.transpose(1, 2).reshape(B, C, K * P * Q)
    moved_BCL = pixels_BCL.gather(2, source_BKPQ.reshape(B, 1, -1).expand(-1, C, -1))
    return moved_BCL.reshape(B, C, K, P, Q).transpose(1, 2), row_BK * grid.columns + column_BK


def _source_pixels(kept_BK: Tensor, rest_B2: Tensor, flip_B: Tensor, grid: PatchGrid) -> Tensor:
    """For each pixel of each moved patch, the pixel that it shows, as an index into the K * P * Q kept pixels."""
    P, Q = grid.patch_size
    y_BP = torch.arange(P, device=kept_BK.device) - rest_B2[:, :1]
    x_BQ = torch.arange(Q, device=kept_BK.device)
    x_BQ = torch.where(flip_B[:, None], Q - 1 - x_BQ, x_BQ) - rest_B2[:, 1:]

    # A remainder of at most half a patch looks past one side only: the neighbour above or below, left or right.
    row_offset_B1 = -rest_B2[:, :1].sign()
    column_offset_B1 = -rest_B2[:, 1:].sign()
    own_BK = torch.arange(kept_BK.shape[1], device=kept_BK.device).expand_as(kept_BK)
    beside_BK = grid.neighbour_slots(kept_BK, 0, column_offset_B1, wrap=True)
    above_BK = grid.neighbour_slots(kept_BK, row_offset_B1, 0, wrap=True)
    across_BK = grid.neighbour_slots(kept_BK, row_offset_B1, column_offset_B1, wrap=True)

    past_y_BKPQ = ((y_BP < 0) | (y_BP >= P))[:, None, :, None]
    past_x_BKPQ = ((x_BQ < 0) | (x_BQ >= Q))[:, None, None, :]
    slot_BKPQ = torch.where(past_y_BKPQ, above_BK[:, :, None, None], own_BK[:, :, None, None])
    slot_beside_BKPQ = torch.where(past_y_BKPQ, across_BK[:, :, None, None], beside_BK[:, :, None, None])
    slot_BKPQ = torch.where(past_x_BKPQ, slot_beside_BKPQ, slot_BKPQ)

    pruned_BKPQ = slot_BKPQ < 0
    y_B1P1, x_B11Q = y_BP[:, None, :, None], x_BQ[:, None, None, :]
    inside_BKPQ = (y_B1P1 % P) * Q + x_B11Q % Q
    nearest_BKPQ = y_B1P1.clamp(0, P - 1) * Q + x_B11Q.clamp(0, Q - 1)
    slot_BKPQ = torch.where(pruned_BKPQ, own_BK[:, :, None, None], slot_BKPQ)
    return slot_BKPQ * (P * Q) + torch.where(pruned_BKPQ, nearest_BKPQ, inside_BKPQ)
