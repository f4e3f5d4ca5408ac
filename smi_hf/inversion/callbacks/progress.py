"""A progress bar over images, with loss parts and kept patches beside it."""

from torch import Tensor

from smi_hf import progress
from smi_hf.data.schema import FinishedImages
from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState


class ProgressCallback(SparseInversionCallback):
    """One bar over the images that this process makes; shown on the main process."""

    def on_begin(self, run: InversionRun) -> None:
        config = run.args
        stages = list(config.prune_schedule.stages(config.num_steps, run.teacher.model.grid.num_patches))
        # A step costs about as much as it has patches: counted so, the time left does not shrink at each prune.
        self.patch_steps = sum(steps * kept for steps, kept in stages) / config.num_stages
        self.logging_steps = config.logging_steps
        self.finished = 0
        self.bar = progress.bar(
            "Inverting",
            total=run.num_own_images,
            unit="image",
            disable=config.disable_tqdm or not run.accelerator.is_local_main_process,
        )

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        note = None
        if self.bar.is_shown and state.step % self.logging_steps == 0:
            parts = [f"{name}={float(loss.mean()):.3g}" for name, loss in losses.items()]
            note = ", ".join([*parts, f"kept={state.num_kept}"])
        self.bar.advance_to(self.bar.done + len(state.image_indices) * state.num_kept / self.patch_steps, note)

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        # Set, not added: steps that ran out of memory were counted and their images were not made.
        self.finished += len(images.image_indices)
        self.bar.advance_to(self.finished)

    def on_end(self, run: InversionRun) -> None:
        self.bar.close()
