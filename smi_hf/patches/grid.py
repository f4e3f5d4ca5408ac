"""The patch grid: pixels to patches and back, and which kept patches touch.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `C` channels, `H W` image pixels, `P Q` patch pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.errors import UsageError


def both_sides(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a size as Hugging Face configurations write them: one side, or both."""
    return (size, size) if isinstance(size, int) else tuple(size)


@dataclass(frozen=True)
class PatchGrid:
    """How an image is divided into patches, numbered row by row from 0 (prefix tokens are not counted).

    Args:
        image_height, image_width: image size in pixels.
        patch_height, patch_width: patch size in pixels; must divide the image size.

    Raises:
        UsageError: a size is not positive, or the patch does not divide the image.
    """

    image_height: int
    image_width: int
    patch_height: int
    patch_width: int

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            image, patch = getattr(self, f"image_{side}"), getattr(self, f"patch_{side}")
            if image < 1 or patch < 1 or image % patch:
                raise UsageError(
                    f"image {side} {image} px is not a positive multiple of the patch {side} {patch} px; "
                    f"use an image size that the patches tile exactly"
                )

    @classmethod
    def from_sizes(cls, image_size: int | Sequence[int], patch_size: int | Sequence[int]) -> "PatchGrid":
        """A grid from sizes as Hugging Face configurations write them: one side, or (height, width), in pixels."""
        return cls(*both_sides(image_size), *both_sides(patch_size))

    @property
    def rows(self) -> int:
        return self.image_height // self.patch_height

    @property
    def columns(self) -> int:
        return self.image_width // self.patch_width

    @property
    def num_patches(self) -> int:
        return self.rows * self.columns

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image_height, self.image_width

    @property
    def patch_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.patch_height, self.patch_width

    def all_patches(self, num_images: int, *, device: torch.device | str | None = None) -> Tensor:
        """Every patch kept: int64 (num_images, N)."""
        return torch.arange(self.num_patches, device=device).expand(num_images, -1)

    def cut(self, pixels_BCHW: Tensor, kept_BK: Tensor | None = None) -> Tensor:
        """Patches of images, (B, K, C, P, Q); all of them in grid order if `kept_BK` is None. Any dtype, any range.

        Raises:
            UsageError: the images are not of this grid's size.
        """
        B, C, H, W = pixels_BCHW.shape
        if self.image_size != (H, W):
            raise UsageError(
                f"images of {H}x{W} px were given, but this grid has {self.image_height}x{self.image_width} px"
            )
        cells = pixels_BCHW.reshape(B, C, self.rows, self.patch_height, self.columns, self.patch_width)
        if kept_BK is None:
            return cells.permute(0, 2, 4, 1, 3, 5).reshape(B, self.num_patches, C, *self.patch_size)
        # Indexing the unpermuted view copies the kept patches alone.
        image_B1 = torch.arange(B, device=kept_BK.device)[:, None]
        return cells[image_B1, :, kept_BK // self.columns, :, kept_BK % self.columns, :]

    def paste(self, patches_BKCPQ: Tensor, kept_BK: Tensor, *, fill: float | Tensor = 0.0) -> Tensor:
        """Images (B, C, H, W) that show the kept patches; the inverse of `cut` where patches are kept.

        Args:
            fill: value of the pruned pixels, in the unit of the patches; a number, or one value per channel (C,).
        """
        B, _, C = patches_BKCPQ.shape[:3]
        fill_C = torch.as_tensor(fill, dtype=patches_BKCPQ.dtype, device=patches_BKCPQ.device).expand(C)
        cells = fill_C[None, None, :, None, None].repeat(B, self.num_patches, 1, *self.patch_size)
        cells[torch.arange(B, device=kept_BK.device)[:, None], kept_BK] = patches_BKCPQ
        cells = cells.reshape(B, self.rows, self.columns, C, *self.patch_size)
        return cells.permute(0, 3, 1, 4, 2, 5).reshape(B, C, *self.image_size)

    def slots(self, kept_BK: Tensor) -> Tensor:
        """Where in the kept list each patch of the grid stands, int64 (B, N); -1 for a pruned patch."""
        B, K = kept_BK.shape
        slots_BN = torch.full((B, self.num_patches), -1, dtype=torch.int64, device=kept_BK.device)
        return slots_BN.scatter_(1, kept_BK, torch.arange(K, device=kept_BK.device).expand(B, K))

    def neighbour_slots(
        self, kept_BK: Tensor, row_offset: int | Tensor, column_offset: int | Tensor, *, wrap: bool = False
    ) -> Tensor:
        """For each kept patch, where in the kept list its neighbour at the given offset stands.

        Args:
            row_offset, column_offset: offset in patches; a number, or a tensor that broadcasts to (B, K).
            wrap: whether the grid is a torus (as `torch.roll` sees it) or ends at its border.

        Returns:
            int64 (B, K); -1 where the neighbour is pruned or lies outside the grid.
        """
        row_BK = kept_BK // self.columns + row_offset
        column_BK = kept_BK % self.columns + column_offset
        wrapped_BK = (row_BK % self.rows) * self.columns + column_BK % self.columns
        slots_BK = self.slots(kept_BK).gather(1, wrapped_BK)
        if wrap:
            return slots_BK
        inside_BK = (row_BK >= 0) & (row_BK < self.rows) & (column_BK >= 0) & (column_BK < self.columns)
        return slots_BK.masked_fill(~inside_BK, -1)


def take_slots(values: Tensor, slots_BM: Tensor) -> Tensor:
    """Rows of `values` (B, K, ...) named by `slots_BM` (B, M) with entries in [0, K): (B, M, ...)."""
    return values[torch.arange(len(values), device=slots_BM.device)[:, None], slots_BM]
