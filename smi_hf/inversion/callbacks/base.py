"""When a callback is called, and what it is told."""

from torch import Tensor

from smi_hf.data.schema import SparseImages
from smi_hf.inversion.run import InversionRun
from smi_hf.inversion.state import TrajectoryState


class SparseInversionCallback:
    """Override what you need. Each process calls its own callbacks, for the batches that it makes.

    Callbacks must not change the state.
    """

    def on_begin(self, run: InversionRun) -> None:
        """Everything is checked and the first step is about to be taken."""

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        """A step was taken; `losses` are weighted, (B,), on the device, by term."""

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        """Patches were dropped; `state` has those that stay."""

    def on_batch_end(self, run: InversionRun, images: SparseImages) -> None:
        """A batch is finished and its shard is on disk."""

    def on_end(self, run: InversionRun) -> None:
        """The run ends, whether well or with an exception."""


class CallbackList(SparseInversionCallback):
    """Calls several callbacks in order."""

    def __init__(self, callbacks: list[SparseInversionCallback]) -> None:
        self.callbacks = callbacks

    def on_begin(self, run: InversionRun) -> None:
        for callback in self.callbacks:
            callback.on_begin(run)

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        for callback in self.callbacks:
            callback.on_step_end(run, state, losses)

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        for callback in self.callbacks:
            callback.on_prune(run, state)

    def on_batch_end(self, run: InversionRun, images: SparseImages) -> None:
        for callback in self.callbacks:
            callback.on_batch_end(run, images)

    def on_end(self, run: InversionRun) -> None:
        for callback in self.callbacks:
            callback.on_end(run)
