"""A picture of what each prune leaves: images left to right, prune stages top to bottom."""

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
        if state.image_indices[0] != 0:
            return
        # After running out of memory the batch begins again, with fewer images.
        if state.step == run.args.prune_schedule.steps[0]:
            self.rows = []
        patches = run.teacher.normalization.to_uint8(state.patches_BKCPQ.detach()[:_MAX_IMAGES])
        self.rows.append(self._paste(run, patches, state.kept_BK[:_MAX_IMAGES]))

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        if images.image_indices[0] != 0 or not self.rows:
            return
        patches, kept = torch.from_numpy(images.patches_BKCPQ[:_MAX_IMAGES]), torch.from_numpy(images.kept_BK)
        rows = [*self.rows, self._paste(run, patches, kept[:_MAX_IMAGES])]
        picture = image_grid([image for row in rows for image in row], columns=len(rows[0]))
        save_png(picture, run.output_dir / STAGES_FILE)
        self.rows = []

    @staticmethod
    def _paste(run: InversionRun, patches: Tensor, kept: Tensor) -> np.ndarray:
        pixels_BCHW = run.teacher.model.grid.paste(patches, kept, fill=0)
        return pixels_BCHW.permute(0, 2, 3, 1).cpu().numpy()
