"""One optimization step: the maths of sparse model inversion and nothing else.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from smi_hf.inversion.observer import Observer, see_logits
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
    observe: Observer = see_logits,
    seed: int = 0,
    num_steps: int = 0,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Tensor]:
    """Moves the kept pixels of every image one Adam step downhill. Changes `state` in place.

    Losses are summed over images, so each image descends its own. Pixels are clamped to what an image file can hold.
    Source: Sparse Model Inversion (arXiv 2510.27186), section 3, with per-image losses and augmentation.

    Args:
        model: the frozen teacher.
        loss_weights: weight of each registered loss term.
        observe: what is looked at beside the teacher's answer, as the terms ask (`make_observer`).
        seed, num_steps: of the run, for terms.
        autocast: context in which the teacher runs (mixed precision); losses and pixels stay float32.

    Returns:
        Weighted loss of each image under the name of its term, (B,), detached.
    """
    patches_BKCPQ = state.patches_BKCPQ
    moved_BKCPQ, places_BK = augment(patches_BKCPQ, state.kept_BK, augmentation, state.grid)
    with autocast():
        seen = observe(model, moved_BKCPQ, places_BK)
    inputs = LossInputs(
        targets_B=state.targets_B,
        patches_BKCPQ=patches_BKCPQ,
        kept_BK=state.kept_BK,
        grid=state.grid,
        step=state.step,
        num_steps=num_steps,
        seed=seed,
        image_indices=state.image_indices,
        **seen,
    )
    parts = weighted_losses(inputs, loss_weights)
    (patches_BKCPQ.grad,) = torch.autograd.grad(sum(parts.values()).sum(), patches_BKCPQ)
    state.optimizer.step()
    with torch.no_grad():
        patches_BKCPQ.clamp_(*normalization.bounds(patches_BKCPQ))
    state.step += 1
    return {name: part.detach() for name, part in parts.items()}
