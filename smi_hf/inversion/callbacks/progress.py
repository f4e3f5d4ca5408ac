"""A progress bar: loss parts, kept patches, images a second, time left."""

from torch import Tensor
from tqdm.auto import tqdm

from smi_hf.data.schema import FinishedImages
from smi_hf.inversion.callbacks.base import InversionRun, SparseInversionCallback
from smi_hf.inversion.state import TrajectoryState

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} images [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class ProgressCallback(SparseInversionCallback):
    """One bar over the images that this process makes; shown on the main process."""

    def on_begin(self, run: InversionRun) -> None:
        config = run.args
        stages = list(config.prune_schedule.stages(config.num_steps, run.teacher.model.grid.num_patches))
        # A step costs about as much as it has patches: counted so, the time left does not shrink at each prune.
        self.patch_steps = sum(steps * kept for steps, kept in stages) / config.num_stages
        self.logging_steps = config.logging_steps
        self.finished = 0
        self.bar = tqdm(
            total=float(run.num_own_images),
            desc="Inverting",
            unit="image",
            bar_format=_FORMAT,
            disable=config.disable_tqdm or not run.accelerator.is_local_main_process,
        )

    def on_step_end(self, run: InversionRun, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        self.bar.update(len(state.image_indices) * state.num_kept / self.patch_steps)
        if not self.bar.disable and state.step % self.logging_steps == 0:
            parts = {name: f"{float(loss.mean()):.3g}" for name, loss in losses.items()}
            self.bar.set_postfix({**parts, "kept": state.num_kept}, refresh=False)

    def on_batch_end(self, run: InversionRun, images: FinishedImages) -> None:
        # Set, not added: steps that ran out of memory were counted and their images were not made.
        self.finished += len(images.image_indices)
        self.bar.n = float(self.finished)
        self.bar.refresh()

    def on_end(self, run: InversionRun) -> None:
        self.bar.close()
