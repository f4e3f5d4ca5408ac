"""Views of images: flipped, shifted, recolored, as kept patches whose places follow.

Legend: `B` images, `K` kept patches, `M` patches of a subset, `C` channels, `P Q` patch pixels, `H W` image pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from smi_hf.patches import Augmentation, PatchGrid, augment, draw_augmentations, take_slots
from smi_hf.patches.randomness import image_generator

AUGMENTATIONS = ("flip", "shift", "color", "subset")
# Contrast and brightness change by at most this much, in normalized units.
_COLOR = 0.3
# A subset has this share of the patches.
_SUBSET = 0.75


def make_views(
    pixels_BCHW: Tensor,
    kept_BK: Tensor,
    grid: PatchGrid,
    augmentations: Sequence[str],
    *,
    seed: int,
    image_indices: Sequence[int],
    views: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """One view of each image, the same for the same seed, image and view whatever the batch, process or device.

    View 0 is the image as it is, except with "subset": every view is one, as the images of a batch need equally many
    patches.

    Args:
        pixels_BCHW: normalized images.
        kept_BK: places of their patches, int64.
        augmentations: of "flip", "shift" (a roll by up to 1/8 of the side), "color" (contrast and brightness) and
            "subset" (three quarters of the patches).
        image_indices, views: which view of which image, B numbers each.

    Returns:
        Patches (B, M, C, P, Q) and their places, int64 (B, M); M is K except with "subset".
    """
    patches_BKCPQ, device = grid.cut(pixels_BCHW, kept_BK), kept_BK.device
    generators = [image_generator(seed, index, view) for index, view in zip(image_indices, views)]
    changed_B = torch.tensor([view != 0 for view in views], device=device)
    shifts, flips = draw_augmentations(
        grid,
        1,
        generators,
        max_shift=1 / 8 if "shift" in augmentations else 0.0,
        flip_probability=0.5 if "flip" in augmentations else 0.0,
    )
    moves = Augmentation(shifts[0].to(device) * changed_B[:, None], flips[0].to(device) & changed_B)
    patches_BKCPQ, kept_BK = augment(patches_BKCPQ, kept_BK, moves, grid)
    if "color" in augmentations:
        patches_BKCPQ = _recolored(patches_BKCPQ, generators, changed_B)
    if "subset" in augmentations:
        slots_BM = _some_slots(kept_BK, generators)
        patches_BKCPQ, kept_BK = take_slots(patches_BKCPQ, slots_BM), take_slots(kept_BK, slots_BM)
    return patches_BKCPQ, kept_BK


def _recolored(patches_BKCPQ: Tensor, generators: Sequence[torch.Generator], changed_B: Tensor) -> Tensor:
    draws_B2 = torch.stack([2 * torch.rand(2, generator=generator) - 1 for generator in generators])
    change_B2 = _COLOR * draws_B2.to(patches_BKCPQ) * changed_B[:, None]
    contrast_B, brightness_B = (1 + change_B2[:, 0], change_B2[:, 1])
    return patches_BKCPQ * contrast_B[:, None, None, None, None] + brightness_B[:, None, None, None, None]


def _some_slots(kept_BK: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Slots of a random subset of the patches, int64 (B, M)."""
    K = kept_BK.shape[1]
    count = max(1, int(_SUBSET * K))
    slots_BM = torch.stack([torch.randperm(K, generator=generator)[:count].sort().values for generator in generators])
    return slots_BM.to(kept_BK.device)
