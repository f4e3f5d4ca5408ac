"""When a callback is called, and what it is told."""

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import FinishedImages
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.inversion.state import TrajectoryState
from smi_hf.models import Teacher


@dataclass(frozen=True)
class InversionRun:
    """What is known of a run when its first step is about to be taken.

    Args:
        args: the settings.
        teacher: what is inverted, on the accelerator's device.
        accelerator: device, processes and trackers.
        record: what will be written beside the images.
        output_dir: the dataset folder.
        num_own_images: how many images this process is to make.
    """

    args: SparseInversionConfig
    teacher: Teacher
    accelerator: Accelerator
    record: DatasetRecord
    output_dir: Path
    num_own_images: int


class SparseInversionCallback:
    """Override what you need. Each process calls its own callbacks, for the batches that it makes.

    Callbacks must not change the state.
    """

    def on_begin(self, run: InversionRun) -> None:
        """Everything is checked and the first step is about to be taken."""

    def on_batch_begin(self, run: InversionRun, state: TrajectoryState) -> None:
        """A batch is about to take its first step; after running out of memory it begins again, with fewer images."""

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        """A step was taken; `losses` are weighted, (B,), on the device, by term."""

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        """Patches were dropped, or left as a finished image; `state` has those that stay."""

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
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

    def on_batch_begin(self, run: InversionRun, state: TrajectoryState) -> None:
        for callback in self.callbacks:
            callback.on_batch_begin(run, state)

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        for callback in self.callbacks:
            callback.on_step_end(run, state, losses)

    def on_prune(self, run: InversionRun, state: TrajectoryState) -> None:
        for callback in self.callbacks:
            callback.on_prune(run, state)

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        for callback in self.callbacks:
            callback.on_batch_end(run, images)

    def on_end(self, run: InversionRun) -> None:
        for callback in self.callbacks:
            callback.on_end(run)
