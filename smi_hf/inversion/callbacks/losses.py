"""A few points of the loss curve, for the record."""

from typing import Any

from torch import Tensor

from smi_hf.data.schema import FinishedImages
from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState

_MAX_POINTS = 50


class LossCurveCallback(SparseInversionCallback):
    """Follows the loss parts of the first batch that its process makes, at some 50 steps of it.

    Attributes:
        curve: `num_images`, `steps`, and `terms`: for each loss term its mean over the batch at these steps, weighted.
            None until the batch is finished.
    """

    def on_begin(self, run: InversionRun) -> None:
        self.curve: dict[str, Any] | None = None
        self._every = -(-run.args.num_steps // _MAX_POINTS) or 1
        self._points: dict[int, dict[str, Tensor]] = {}

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        if self.curve is not None or (state.step % self._every and state.step > 1):
            return
        # After running out of memory the batch begins again, with fewer images.
        if self._points and state.step <= max(self._points):
            self._points = {}
        # Stays on the device: to read it would hold up every step.
        self._points[state.step] = {name: loss.detach().mean() for name, loss in losses.items()}

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        if self.curve is None and self._points:
            names = next(iter(self._points.values()))
            self.curve = {
                "num_images": len(images.image_indices),
                "steps": list(self._points),
                "terms": {
                    name: [float(f"{float(losses[name]):.5g}") for losses in self._points.values()] for name in names
                },
            }
