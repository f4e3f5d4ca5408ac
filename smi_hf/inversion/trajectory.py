"""One trajectory: a batch of images from start to finished, as a loop that reads from top to bottom.

Legend: `B` images, `K` kept patches.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from smi_hf.data.schema import FinishedImages
from smi_hf.errors import RunError
from smi_hf.images.starts import open_start
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.inversion.helpers import Helpers
from smi_hf.inversion.moves.base import MOVES, Move, MoveSettings
from smi_hf.inversion.observer import make_observer
from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.step import inversion_step
from smi_hf.losses import needs_of
from smi_hf.models import Teacher
from smi_hf.patches import POLICIES, Augmentation, PatchGrid, SelectionInputs, draw_augmentations
from smi_hf.starts.base import OpenStart


class NonFiniteLossError(RunError):
    """The loss of an image became infinite or NaN."""


def run_trajectory(
    teacher: Teacher,
    config: SparseInversionConfig,
    image_indices: Sequence[int],
    targets: Sequence[int],
    *,
    start: OpenStart | None = None,
    helpers: Helpers | None = None,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    on_step_end: Callable[[TrajectoryState, dict[str, Tensor]], None] = lambda state, losses: None,
    on_prune: Callable[[TrajectoryState], None] = lambda state: None,
) -> FinishedImages:
    """Makes a batch of images (arXiv 2510.27186, algorithm 1).

    Args:
        image_indices, targets: which images of the run, and their labels.
        start: what they begin as; that of `config`, opened, if None.
        helpers: what the loss terms borrow; nothing if None.
        autocast: context in which the teacher runs.
        on_step_end: told the weighted loss parts (B,) of each step.
        on_prune: told when patches were dropped.

    Raises:
        NonFiniteLossError: names the first step at which a loss was not finite, and the images.
    """
    grid, normalization = teacher.model.grid, teacher.normalization
    state = TrajectoryState.start(
        image_indices,
        targets,
        grid,
        seed=config.seed,
        draw_start=(start or open_start(config.start_spec, teacher)).draw,
        move=_make_move(config, grid),
        device=device,
    )
    # Of each view in turn, so that the first is what the only one would be.
    drawn = [
        draw_augmentations(
            grid,
            config.num_steps,
            state.generators,
            max_shift=config.max_shift,
            flip_probability=config.flip_probability,
        )
        for _ in range(config.num_views)
    ]
    schedule = config.prune_schedule
    keep_counts = dict(zip(schedule.steps, schedule.keep_counts(grid.num_patches)[1:]))
    select = POLICIES.get(config.policy)
    guard = _FiniteGuard(state)
    loss_weights = config.term_weights
    observe = make_observer(needs_of(loss_weights), helpers or Helpers())

    for step in range(config.num_steps):
        if step in keep_counts:
            slots_BM = select(
                SelectionInputs(
                    kept_BK=state.kept_BK,
                    num_kept=keep_counts[step],
                    cls_attention=lambda: teacher.model.cls_attention(state.patches_BKCPQ.detach(), state.kept_BK),
                    generators=state.generators,
                )
            )
            state.keep(slots_BM)
            on_prune(state)
        losses = inversion_step(
            teacher.model,
            state,
            [Augmentation(shifts[step], flips[step]).to(device) for shifts, flips in drawn],
            loss_weights=loss_weights,
            normalization=normalization,
            learning_rate=config.learning_rate_at(step),
            observe=observe,
            seed=config.seed,
            num_steps=config.num_steps,
            autocast=autocast,
        )
        guard.watch(losses)
        if state.step % config.logging_steps == 0 or state.step == config.num_steps:
            guard.check()
        on_step_end(state, losses)
    return _finish(teacher, config, state)


def _make_move(config: SparseInversionConfig, grid: PatchGrid) -> Move:
    betas = (config.adam_beta1, config.adam_beta2)
    return MOVES.get(config.move).make(MoveSettings(grid, config.num_steps, betas, config.move_values))


def _finish(teacher: Teacher, config: SparseInversionConfig, state: TrajectoryState) -> FinishedImages:
    """Rounds to 8 bits and asks the teacher, in float32, what it sees in what is left."""
    patches_BKCPQ = teacher.normalization.to_uint8(state.patches_BKCPQ.detach())
    with torch.no_grad():
        logits_BL = teacher.model.forward_patches(
            teacher.normalization.from_uint8(patches_BKCPQ), state.kept_BK
        ).logits
    probability_B = logits_BL.float().softmax(dim=-1).gather(1, state.targets_B[:, None])[:, 0]
    return FinishedImages(
        image_indices=state.image_indices,
        seed=config.seed,
        steps=config.num_steps,
        labels=state.targets_B.tolist(),
        patches_BKCPQ=patches_BKCPQ.cpu().numpy(),
        kept_BK=state.kept_BK.cpu().numpy(),
        target_probability_B=probability_B.cpu().numpy(),
    )


class _FiniteGuard:
    """Notes each image's first non-finite loss on the device, so that asking does not stall every step."""

    def __init__(self, state: TrajectoryState) -> None:
        self.state = state
        self.first_bad_B = torch.zeros(len(state.image_indices), dtype=torch.int64, device=state.targets_B.device)

    def watch(self, losses: dict[str, Tensor]) -> None:
        bad_B = ~torch.isfinite(sum(losses.values())) & (self.first_bad_B == 0)
        self.first_bad_B += bad_B * self.state.step

    def check(self) -> None:
        if not self.first_bad_B.any():
            return
        steps = self.first_bad_B.tolist()
        first = min(step for step in steps if step)
        images = [index for index, step in zip(self.state.image_indices, steps) if step]
        raise NonFiniteLossError(
            f"the loss became non-finite at step {first} for image{'s' * (len(images) > 1)} "
            f"{', '.join(map(str, images))}; finished shards are intact. Lower the learning rate, or run in float32"
        )
