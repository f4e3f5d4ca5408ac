"""Loss parts to whatever trackers accelerate knows: tensorboard, wandb, trackio, ..."""

from torch import Tensor

from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState

PROJECT_NAME = "smi_hf"


class TrackerCallback(SparseInversionCallback):
    """Logs the mean of each loss part over the main process's batch, and the kept patches, every `logging_steps`."""

    def on_begin(self, run: InversionRun) -> None:
        self.steps = 0
        settings = run.args.image_settings()
        # Trackers store scalars; a list as its text.
        scalars = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in settings.items()
        }
        run.accelerator.init_trackers(PROJECT_NAME, config=scalars)

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        self.steps += 1
        if state.step % run.args.logging_steps:
            return
        means = {f"loss/{name}": float(loss.mean()) for name, loss in losses.items()}
        total = sum(means.values())
        run.accelerator.log({**means, "loss": total, "kept_patches": state.num_kept}, step=self.steps)

    def on_end(self, run: InversionRun) -> None:
        # Not accelerator.end_training(): it also takes down the process group, which the trainer still needs.
        for tracker in run.accelerator.trackers:
            tracker.finish()
