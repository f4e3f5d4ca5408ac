"""One optimization step: the maths of sparse model inversion and nothing else.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from smi_hf.inversion.state import TrajectoryState
from smi_hf.losses import LossInputs, weighted_losses
from smi_hf.models import SparseClassifier
from smi_hf.patches import Augmentation, Normalization, augment


def inversion_step(
    model: SparseClassifier,
    state: TrajectoryState,
    augmentation: Augmentation,
    *,
    loss_weights: Mapping[str, float],
    normalization: Normalization,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Tensor]:
    """Moves the kept pixels of every image one Adam step downhill. Changes `state` in place.

    Losses are summed over images, so each image descends its own. Pixels are clamped to what an image file can hold.
    Source: Sparse Model Inversion (arXiv 2510.27186), section 3, with per-image losses and augmentation.

    Args:
        model: the frozen teacher.
        loss_weights: weight of each registered loss term.
        autocast: context in which the teacher runs (mixed precision); losses and pixels stay float32.

    Returns:
        Weighted loss of each image under the name of its term, (B,), detached.
    """
    patches_BKCPQ = state.patches_BKCPQ
    moved_BKCPQ, places_BK = augment(patches_BKCPQ, state.kept_BK, augmentation, state.grid)
    with autocast():
        logits_BL = model.forward_patches(moved_BKCPQ, places_BK).logits
    parts = weighted_losses(
        LossInputs(logits_BL, state.targets_B, patches_BKCPQ, state.kept_BK, state.grid), loss_weights
    )
    (patches_BKCPQ.grad,) = torch.autograd.grad(sum(parts.values()).sum(), patches_BKCPQ)
    state.optimizer.step()
    with torch.no_grad():
        patches_BKCPQ.clamp_(*normalization.bounds(patches_BKCPQ))
    state.step += 1
    return {name: part.detach() for name, part in parts.items()}
