"""What a loss term sees, where it is registered, and how terms are added up.

Legend: `B` images, `K` kept patches, `L` labels, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smi_hf.registry import Registry

if TYPE_CHECKING:  # not at run time: --help lists the terms, and must not wait for torch
    from torch import Tensor

    from smi_hf.patches.grid import PatchGrid


@dataclass(frozen=True)
class LossInputs:
    """One optimization step as the loss terms see it.

    Args:
        logits_BL: teacher's answer to the augmented images, float (B, L).
        targets_B: label that each image is to have, int64 (B,).
        patches_BKCPQ: kept patches before augmentation, in normalized units, float (B, K, C, P, Q).
        kept_BK: their places on the grid, int64 (B, K).
        grid: the patch grid.
    """

    logits_BL: "Tensor"
    targets_B: "Tensor"
    patches_BKCPQ: "Tensor"
    kept_BK: "Tensor"
    grid: "PatchGrid"


# One value an image, (B,): an image's loss must not depend on the others in its batch.
LossTerm = Callable[[LossInputs], "Tensor"]
LOSSES: Registry[LossTerm] = Registry("loss term", "smi_hf.losses")
register_loss = LOSSES.register


def weighted_losses(inputs: LossInputs, weights: Mapping[str, float]) -> "dict[str, Tensor]":
    """Each term of non-zero weight times that weight, (B,), under its name.

    Raises:
        UsageError: a name is not registered.
    """
    terms = {name: LOSSES.get(name) for name in weights}
    return {name: weight * terms[name](inputs) for name, weight in weights.items() if weight != 0}
