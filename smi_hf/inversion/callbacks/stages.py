"""A picture of what each prune leaves: images left to right, prune stages top to bottom.

Where trajectories give several images, these are the stages: trajectories left to right, in the order in which their
images left top to bottom.
"""

import numpy as np
import torch
from torch import Tensor

from smi_hf.data.schema import STAGES_FILE, FinishedImages
from smi_hf.images.preview import image_grid, save_png
from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState

_MAX_IMAGES = 8


class StagePreviewCallback(SparseInversionCallback):
    """Follows the first images of the run's first batch; writes `preview_stages.png` when that batch is finished."""

    def on_begin(self, run: InversionRun) -> None:
        self.rows: list[np.ndarray] = []

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        # Images that leave early are shown themselves.
        if state.image_indices[0] != 0 or run.args.num_stages > 1:
            return
        # After running out of memory the batch begins again, with fewer images.
        if state.step == run.args.prune_schedule.steps[0]:
            self.rows = []
        patches = run.teacher.normalization.to_uint8(state.patches_BKCPQ.detach()[:_MAX_IMAGES])
        self.rows.append(self._paste(run, patches, state.kept_BK[:_MAX_IMAGES]))

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        num_stages = run.args.num_stages
        if images.image_indices[0] != 0 or (not self.rows and num_stages == 1):
            return
        rows = [
            *self.rows,
            *(self._finished(run, images, slice(stage, None, num_stages)) for stage in range(num_stages)),
        ]
        picture = image_grid([image for row in rows for image in row], columns=len(rows[0]))
        save_png(picture, run.output_dir / STAGES_FILE)
        self.rows = []

    def _finished(self, run: InversionRun, images: FinishedImages, which: slice) -> np.ndarray:
        patches, kept = images.patches_BKCPQ[which][:_MAX_IMAGES], images.kept_BK[which][:_MAX_IMAGES]
        return self._paste(run, torch.from_numpy(patches), torch.from_numpy(kept))

    @staticmethod
    def _paste(run: InversionRun, patches: Tensor, kept: Tensor) -> np.ndarray:
        pixels_BCHW = run.teacher.model.grid.paste(patches, kept, fill=0)
        return pixels_BCHW.permute(0, 2, 3, 1).cpu().numpy()
