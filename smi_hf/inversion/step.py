"""One optimization step: the maths of sparse model inversion and nothing else.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from smi_hf.inversion.observer import Observer, see_logits
from smi_hf.inversion.state import TrajectoryState
from smi_hf.losses import LossInputs, weighted_losses
from smi_hf.models import VisionClassifier
from smi_hf.patches import Augmentation, Normalization, augment


def inversion_step(
    model: VisionClassifier,
    state: TrajectoryState,
    views: Sequence[Augmentation],
    *,
    loss_weights: Mapping[str, float],
    normalization: Normalization,
    learning_rate: float = 0.25,
    observe: Observer = see_logits,
    seed: int = 0,
    num_steps: int = 0,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, Tensor]:
    """Moves the kept pixels of every image one step downhill, as the state's move does. Changes `state` in place.

    Losses are summed over images, so each image descends its own, and averaged over its views. Pixels are clamped to
    what an image file can hold.
    Source: Sparse Model Inversion (arXiv 2510.27186), section 3, with per-image losses and augmentation.

    Args:
        model: the frozen teacher.
        views: how the teacher sees each image, at least once; one after the other, so in the memory of one.
        loss_weights: weight of each registered loss term.
        learning_rate: of this step.
        observe: what is looked at beside the teacher's answer, as the terms ask (`make_observer`).
        seed, num_steps: of the run, for terms.
        autocast: context in which the teacher runs (mixed precision); losses and pixels stay float32.

    Returns:
        Weighted loss of each image under the name of its term, (B,), mean over views, detached.
    """
    assert views, "an image that nobody sees has no loss"
    parts: dict[str, Tensor] = {}
    gradient_BKCPQ: Tensor | None = None
    for view in views:
        with autocast():
            inputs = _look(model, state, view, observe, seed, num_steps)
        losses = weighted_losses(inputs, loss_weights)
        (slope_BKCPQ,) = torch.autograd.grad(sum(losses.values()).sum(), state.patches_BKCPQ)
        gradient_BKCPQ = slope_BKCPQ if gradient_BKCPQ is None else gradient_BKCPQ.add_(slope_BKCPQ)
        parts = {name: loss.detach() + parts[name] if parts else loss.detach() for name, loss in losses.items()}
    if len(views) > 1:
        gradient_BKCPQ /= len(views)
        parts = {name: part / len(views) for name, part in parts.items()}
    state.update(gradient_BKCPQ, learning_rate)
    with torch.no_grad():
        state.patches_BKCPQ.clamp_(*normalization.bounds(state.patches_BKCPQ))
    return parts


def _look(
    model: VisionClassifier, state: TrajectoryState, view: Augmentation, observe: Observer, seed: int, num_steps: int
) -> LossInputs:
    """What the loss terms see of every image in one view."""
    moved_BKCPQ, places_BK = augment(state.patches_BKCPQ, state.kept_BK, view, state.grid)
    return LossInputs(
        targets_B=state.targets_B,
        patches_BKCPQ=state.patches_BKCPQ,
        kept_BK=state.kept_BK,
        grid=state.grid,
        step=state.step,
        num_steps=num_steps,
        seed=seed,
        image_indices=state.image_indices,
        **observe(model, moved_BKCPQ, places_BK),
    )
