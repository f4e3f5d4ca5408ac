"""One trajectory: a batch of images from start to finished, as a loop that reads from top to bottom.

Legend: `B` starts, each an image or a trajectory of several; `K` kept patches; `F` patches of a finished image.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
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
from smi_hf.patches import POLICIES, Augmentation, PatchGrid, SelectionInputs, draw_augmentations, take_slots
from smi_hf.starts.base import OpenStart


class NonFiniteLossError(RunError):
    """The loss of an image became infinite or NaN."""


def run_trajectory(
    teacher: Teacher,
    config: SparseInversionConfig,
    trajectories: Sequence[int],
    targets: Sequence[int],
    *,
    start: OpenStart | None = None,
    helpers: Helpers | None = None,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    on_begin: Callable[[TrajectoryState], None] = lambda state: None,
    on_step_end: Callable[[TrajectoryState, dict[str, Tensor]], None] = lambda state, losses: None,
    on_prune: Callable[[TrajectoryState], None] = lambda state: None,
) -> FinishedImages:
    """Makes a batch of images (arXiv 2510.27186, algorithm 1).

    Args:
        trajectories, targets: which trajectories of the run, and their labels. A trajectory gives one image, of its
            number; with a policy that lets patches leave early `config.num_stages` of them, one after the other.
        start: what they begin as; that of `config`, opened, if None.
        helpers: what the loss terms borrow; nothing if None.
        autocast: context in which the teacher runs.
        on_begin: told what the images begin as.
        on_step_end: told the weighted loss parts (B,) of each step.
        on_prune: told when patches were dropped.

    Raises:
        NonFiniteLossError: names the first step at which a loss was not finite, and the images.
    """
    grid, normalization = teacher.model.grid, teacher.normalization
    state = TrajectoryState.start(
        trajectories,
        targets,
        grid,
        seed=config.seed,
        draw_start=(start or open_start(config.start_spec, teacher)).draw,
        move=_make_move(config, grid),
        device=device,
    )
    schedule = config.prune_schedule
    num_steps, num_leaving = schedule.last_step(config.num_steps), schedule.num_leaving(grid.num_patches)
    # Of each view in turn, so that the first is what the only one would be.
    drawn = [
        draw_augmentations(
            grid,
            num_steps,
            state.generators,
            max_shift=config.max_shift,
            flip_probability=config.flip_probability,
        )
        for _ in range(config.num_views)
    ]
    keep_counts = dict(zip(schedule.steps, schedule.keep_counts(grid.num_patches)[1:]))
    select = POLICIES.get(config.policy)
    guard = _FiniteGuard(state, config.num_stages)
    loss_weights = config.term_weights
    observe = make_observer(needs_of(loss_weights), helpers or Helpers())
    finished: list[_Stage] = []

    on_begin(state)
    for step in range(num_steps):
        if step in keep_counts:
            selection = select(
                SelectionInputs(
                    kept_BK=state.kept_BK,
                    num_kept=keep_counts[step],
                    patch_attention=lambda: teacher.model.patch_attention(state.patches_BKCPQ.detach(), state.kept_BK),
                    generators=state.generators,
                    num_leaving=num_leaving,
                )
            )
            if selection.leave_BF is not None:
                finished.append(_finish(teacher, state, selection.leave_BF))
            state.keep(selection.stay_BM)
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
        if state.step % config.logging_steps == 0 or state.step == num_steps:
            guard.check()
        on_step_end(state, losses)
    finished.append(_finish(teacher, state))
    return _finished_images(config, state, finished)


def _make_move(config: SparseInversionConfig, grid: PatchGrid) -> Move:
    betas = (config.adam_beta1, config.adam_beta2)
    return MOVES.get(config.move).make(MoveSettings(grid, config.num_steps, betas, config.move_values))


@dataclass(frozen=True)
class _Stage:
    """The images that leave a batch at one step: one of each start."""

    step: int
    patches_BFCPQ: np.ndarray
    kept_BF: np.ndarray
    target_probability_B: np.ndarray


def _finish(teacher: Teacher, state: TrajectoryState, slots_BF: Tensor | None = None) -> _Stage:
    """Rounds to 8 bits and asks the teacher, in float32, what it sees in the patches of these slots, all if None."""
    patches_BFCPQ, kept_BF = state.patches_BKCPQ.detach(), state.kept_BK
    if slots_BF is not None:
        patches_BFCPQ, kept_BF = take_slots(patches_BFCPQ, slots_BF), take_slots(kept_BF, slots_BF)
    patches_BFCPQ = teacher.normalization.to_uint8(patches_BFCPQ)
    with torch.no_grad():
        logits_BL = teacher.model.forward_patches(teacher.normalization.from_uint8(patches_BFCPQ), kept_BF).logits
    probability_B = logits_BL.float().softmax(dim=-1).gather(1, state.targets_B[:, None])[:, 0]
    return _Stage(state.step, patches_BFCPQ.cpu().numpy(), kept_BF.cpu().numpy(), probability_B.cpu().numpy())


def _finished_images(config: SparseInversionConfig, state: TrajectoryState, stages: list[_Stage]) -> FinishedImages:
    """The images of all stages, trajectory by trajectory."""
    num_stages = len(stages)
    assert num_stages == config.num_stages, "a policy lets as many images leave as the configuration says"
    return FinishedImages(
        image_indices=tuple(
            trajectory * num_stages + stage for trajectory in state.image_indices for stage in range(num_stages)
        ),
        seed=config.seed,
        steps=[stage.step for stage in stages] * len(state.image_indices),
        labels=[label for label in state.targets_B.tolist() for _ in stages],
        patches_BKCPQ=np.stack([stage.patches_BFCPQ for stage in stages], axis=1).reshape(
            -1, *stages[0].patches_BFCPQ.shape[1:]
        ),
        kept_BK=np.stack([stage.kept_BF for stage in stages], axis=1).reshape(-1, stages[0].kept_BF.shape[1]),
        target_probability_B=np.stack([stage.target_probability_B for stage in stages], axis=1).reshape(-1),
    )


class _FiniteGuard:
    """Notes each image's first non-finite loss on the device, so that asking does not stall every step."""

    def __init__(self, state: TrajectoryState, num_stages: int) -> None:
        self.state = state
        self.num_stages = num_stages
        self.first_bad_B = torch.zeros(len(state.image_indices), dtype=torch.int64, device=state.targets_B.device)

    def watch(self, losses: dict[str, Tensor]) -> None:
        bad_B = ~torch.isfinite(sum(losses.values())) & (self.first_bad_B == 0)
        self.first_bad_B += bad_B * self.state.step

    def check(self) -> None:
        if not self.first_bad_B.any():
            return
        steps = self.first_bad_B.tolist()
        first = min(step for step in steps if step)
        bad = [index for index, step in zip(self.state.image_indices, steps) if step]
        images = [index * self.num_stages + stage for index in bad for stage in range(self.num_stages)]
        raise NonFiniteLossError(
            f"the loss became non-finite at step {first} for image{'s' * (len(images) > 1)} "
            f"{', '.join(map(str, images))}; finished shards are intact. Lower the learning rate, or run in float32"
        )
