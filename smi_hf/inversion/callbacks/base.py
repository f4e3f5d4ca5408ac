"""When a callback is called, and what it is told."""

from typing import TYPE_CHECKING

from torch import Tensor

from smi_hf.data.schema import SparseImages
from smi_hf.inversion.state import TrajectoryState

if TYPE_CHECKING:
    from smi_hf.inversion.trainer import SparseInversionTrainer


class SparseInversionCallback:
    """Override what you need. Each process calls its own callbacks, for the batches that it makes.

    `trainer` gives `args`, `teacher`, `accelerator` and `record`; callbacks must not change the state.
    """

    def on_begin(self, trainer: "SparseInversionTrainer") -> None:
        """Everything is checked and the first step is about to be taken."""

    def on_step_end(
        self, trainer: "SparseInversionTrainer", state: TrajectoryState, losses: dict[str, Tensor]
    ) -> None:
        """A step was taken; `losses` are weighted, (B,), on the device, by term."""

    def on_prune(self, trainer: "SparseInversionTrainer", state: TrajectoryState) -> None:
        """Patches were dropped; `state` has those that stay."""

    def on_batch_end(self, trainer: "SparseInversionTrainer", images: SparseImages) -> None:
        """A batch is finished and its shard is on disk."""

    def on_end(self, trainer: "SparseInversionTrainer") -> None:
        """The run ends, whether well or with an exception."""


class CallbackList(SparseInversionCallback):
    """Calls several callbacks in order."""

    def __init__(self, callbacks: list[SparseInversionCallback]) -> None:
        self.callbacks = callbacks

    def on_begin(self, trainer: "SparseInversionTrainer") -> None:
        for callback in self.callbacks:
            callback.on_begin(trainer)

    def on_step_end(
        self, trainer: "SparseInversionTrainer", state: TrajectoryState, losses: dict[str, Tensor]
    ) -> None:
        for callback in self.callbacks:
            callback.on_step_end(trainer, state, losses)

    def on_prune(self, trainer: "SparseInversionTrainer", state: TrajectoryState) -> None:
        for callback in self.callbacks:
            callback.on_prune(trainer, state)

    def on_batch_end(self, trainer: "SparseInversionTrainer", images: SparseImages) -> None:
        for callback in self.callbacks:
            callback.on_batch_end(trainer, images)

    def on_end(self, trainer: "SparseInversionTrainer") -> None:
        for callback in self.callbacks:
            callback.on_end(trainer)
