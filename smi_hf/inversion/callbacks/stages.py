"""A picture of how images come about: a row an image, from its start over what each prune leaves to its end.

Where trajectories give several images, a row is a trajectory: its start, and its images in the order in which they
left.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smi_hf.data.captions import in_percent
from smi_hf.data.schema import STAGES_FILE, FinishedImages
from smi_hf.images.lettering import Line, letter, letter_label
from smi_hf.images.preview import image_table, save_png
from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState

_MAX_ROWS = 6


class StagePreviewCallback(SparseInversionCallback):
    """Follows the first images of the run's first batch; writes `preview_stages.png` when that batch is finished.

    Images that take no step are not followed.
    """

    def on_begin(self, run: InversionRun) -> None:
        self.columns: list[_Column] = []

    def on_batch_begin(self, run: InversionRun, state: TrajectoryState) -> None:
        if state.image_indices[0] == 0 and run.args.num_steps:
            self.columns = [_under_way(run, state)]

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        # Images that leave early are shown themselves.
        if state.image_indices[0] == 0 and run.args.num_stages == 1:
            self.columns.append(_under_way(run, state))

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        if images.image_indices[0] != 0 or not self.columns:
            return
        columns = [*self.columns, *_finished(run, images)]
        rows = list(zip(*(column.images for column in columns)))
        picture = image_table(rows, _row_captions(run, images)[: len(rows)], [column.caption for column in columns])
        save_png(picture, run.output_dir / STAGES_FILE)
        self.columns = []


@dataclass(frozen=True)
class _Column:
    """The first images at one step, uint8 (H, W, 3)."""

    caption: list[Line]
    images: list[np.ndarray]

    @classmethod
    def of(cls, run: InversionRun, step: str, patches_BKCPQ: Tensor, kept_BK: Tensor) -> "_Column":
        """A column of patches, uint8, at their places."""
        grid = run.teacher.model.grid
        pixels_BCHW = grid.paste(patches_BKCPQ[:_MAX_ROWS], kept_BK[:_MAX_ROWS], fill=0)
        share = in_percent(kept_BK.shape[1] / grid.num_patches)
        return cls([letter(step), letter(f"kept: {share}")], list(pixels_BCHW.permute(0, 2, 3, 1).cpu().numpy()))


def _under_way(run: InversionRun, state: TrajectoryState) -> _Column:
    patches = run.teacher.normalization.to_uint8(state.patches_BKCPQ.detach()[:_MAX_ROWS])
    return _Column.of(run, f"step {state.step}", patches, state.kept_BK)


def _row_captions(run: InversionRun, images: FinishedImages) -> list[list[Line]]:
    """Label, and the probability of it at the end."""
    last = slice(run.args.num_stages - 1, None, run.args.num_stages)
    return [
        [
            letter_label(run.teacher.label_names[label], label),
            letter(f"teacher: {in_percent(float(probability))}"),
            letter("at the end"),
        ]
        for label, probability in zip(images.labels[last], images.target_probability_B[last])
    ]


def _finished(run: InversionRun, images: FinishedImages) -> list[_Column]:
    """A column of the images that a trajectory gave first, one of those that it gave second, and so on."""
    num_stages = run.args.num_stages
    steps = np.broadcast_to(images.steps, len(images.image_indices))
    columns = []
    for stage in range(num_stages):
        which = slice(stage, None, num_stages)
        patches, kept = torch.from_numpy(images.patches_BKCPQ[which]), torch.from_numpy(images.kept_BK[which])
        end = ", end" if stage == num_stages - 1 else ""
        columns.append(_Column.of(run, f"step {steps[stage]}{end}", patches, kept))
    return columns
