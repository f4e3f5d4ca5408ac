"""Draws the pictures of how-it-works.md from the embedded teacher.

    python recipes/guides/draw_pictures.py
    python recipes/guides/draw_pictures.py --output_dir out/pictures --num_steps 40

Needs the extras `plots` and `demo`. Legend: `B` images, `N` patches, `K` kept patches.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from transformers import HfArgumentParser

from smi_hf import SparseInversionConfig, Teacher, load_teacher
from smi_hf.demo import TEACHER_PATH
from smi_hf.demo.digits import generate_digits
from smi_hf.evaluation.cost import forward_macs, schedule_macs
from smi_hf.images.controls.base import ControlSpec
from smi_hf.images.kept import KeptImages
from smi_hf.images.starts import start_images
from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.trajectory import run_trajectory
from smi_hf.models.preprocessing import preprocess
from smi_hf.quantization.backends.quanto import activation_maxima
from smi_hf.starts.base import StartSpec

STARTS = ("noise", "pink", "dead_leaves", "scenes")
NUM_IMAGES, NUM_SHOWN = 16, 4
GREEN, GREY, RED = "#1b7837", "#878787", "#b2182b"
# Light blue, which no image has much of.
GONE = (216, 228, 242)


@dataclass
class Arguments:
    """What is drawn, and where it goes."""

    output_dir: str = field(
        default=str(Path(__file__).parent / "pictures"), metadata={"help": "Folder for the pictures; made if need be."}
    )
    num_steps: int = field(default=400, metadata={"help": "Optimization steps per image."})


@dataclass(frozen=True)
class Moment:
    """A batch of images at one step.

    Args:
        step: steps that were taken.
        pixels: uint8 (B, H, W, 3), patches that are gone in one color.
        kept_BK: places of the patches that are left, int64 (B, K).
        attention_BK: of the CLS token to each of them.
    """

    step: int
    pixels: np.ndarray
    kept_BK: Tensor
    attention_BK: Tensor


class Story:
    """A run, and what its images were just before and just after each prune."""

    def __init__(self, teacher: Teacher, num_steps: int) -> None:
        self.teacher = teacher
        # Over frequencies, as such images show more than with the defaults. A mirrored digit is none.
        self.config = SparseInversionConfig(
            num_images=NUM_IMAGES,
            num_steps=num_steps,
            start="pink",
            move="frequency",
            learning_rate=0.1,
            flip_probability=0,
        )
        self.schedule = self.config.prune_schedule
        self.targets = [number % 10 for number in range(NUM_IMAGES)]
        self.before: dict[int, Moment] = {}
        self.after: dict[int, Moment] = {}
        self.images = run_trajectory(
            teacher, self.config, range(NUM_IMAGES), self.targets, on_step_end=self._watch, on_prune=self._watch_prune
        )

    def _watch(self, state: TrajectoryState, losses: dict[str, Tensor]) -> None:
        if state.step in self.schedule.steps:
            self.before[state.step] = self._moment(state)

    def _watch_prune(self, state: TrajectoryState) -> None:
        self.after[state.step] = self._moment(state)

    def _moment(self, state: TrajectoryState) -> Moment:
        patches, kept_BK = state.patches_BKCPQ.detach(), state.kept_BK.clone()
        return Moment(
            state.step,
            self.picture(self.teacher.normalization.to_uint8(patches), kept_BK),
            kept_BK,
            self.teacher.model.patch_attention(patches, kept_BK),
        )

    def picture(self, patches_BKCPQ: Tensor, kept_BK: Tensor) -> np.ndarray:
        """Images of 8-bit patches, uint8 (B, H, W, 3)."""
        grid = self.teacher.model.grid
        is_kept, pixels = (
            grid.paste(patches, kept_BK, fill=0).permute(0, 2, 3, 1).numpy()
            for patches in (torch.ones_like(patches_BKCPQ), patches_BKCPQ)
        )
        return np.where(is_kept, pixels, np.array(GONE, dtype=np.uint8))

    @property
    def finished(self) -> KeptImages:
        """The finished images as calibration sees them."""
        patches, kept_BK = torch.from_numpy(self.images.patches_BKCPQ), torch.from_numpy(self.images.kept_BK)
        pixels = self.teacher.model.grid.paste(patches, kept_BK, fill=0)
        return KeptImages(self.teacher.normalization.from_uint8(pixels), kept_BK, "inverted")

    @property
    def finished_picture(self) -> np.ndarray:
        return self.picture(torch.from_numpy(self.images.patches_BKCPQ), torch.from_numpy(self.images.kept_BK))


def show(axes: Axes, picture: np.ndarray, title: str, **options: object) -> None:
    axes.imshow(picture, interpolation="nearest", **options)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_starts(teacher: Teacher) -> Figure:
    figure = Figure(figsize=(7, 2.1), layout="constrained")
    figure.suptitle("An image begins as noise, or as a picture that a program draws", fontsize=11)
    for axes, name in zip(figure.subplots(1, len(STARTS)), STARTS):
        pixels = start_images(StartSpec(name), teacher, 1).pixels_BCHW
        show(axes, teacher.normalization.to_uint8(pixels)[0].permute(1, 2, 0).numpy(), f"--start {name}")
    return figure


def draw_attention(story: Story) -> Figure:
    """One image before its first prune, what its CLS token looks at, and what the prune leaves."""
    step, number, grid = story.schedule.steps[0], 1, story.teacher.model.grid
    before, after = story.before[step], story.after[step]
    attention = before.attention_BK[number].reshape(grid.rows, grid.columns).numpy()
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    figure.suptitle(
        f"After {step} steps the CLS token chooses: {after.kept_BK.shape[1]} of {grid.num_patches} patches stay",
        fontsize=11,
    )
    left, middle, right = figure.subplots(1, 3)
    show(left, before.pixels[number], "the image")
    show(middle, attention, "attention of its CLS token", cmap="magma")
    show(right, after.pixels[number], "what stays")
    return figure


def draw_stages(story: Story) -> Figure:
    """A row per image, a column per stage."""
    grid, steps = story.teacher.model.grid, story.schedule.steps
    columns = [("just before the\nfirst prune", story.before[steps[0]].pixels)]
    columns += [
        (f"step {step}\n{story.after[step].kept_BK.shape[1]} patches", story.after[step].pixels) for step in steps
    ]
    columns.append((f"step {story.config.num_steps}\nfinished", story.finished_picture))
    figure = Figure(figsize=(1.25 * len(columns), 5.6), layout="constrained")
    figure.suptitle(
        f"From {grid.num_patches} patches to {len(story.images.kept_BK[0])}: what is left goes on changing",
        fontsize=11,
    )
    for row, cells in enumerate(figure.subplots(NUM_SHOWN, len(columns))):
        for column, (title, pixels) in enumerate(columns):
            show(cells[column], pixels[row], title if row == 0 else "")
        cells[0].set_ylabel(f"a {story.targets[row]}", rotation=0, labelpad=14, va="center")
        probability = 100 * story.images.target_probability_B[row]
        cells[-1].set_xlabel(f"{probability:.0f} % a {story.targets[row]}", fontsize=9)
    return figure


def draw_tokens(story: Story) -> Figure:
    model, num_steps = story.teacher.model, story.config.num_steps
    num_patches = model.grid.num_patches
    stages = list(story.schedule.stages(num_steps, num_patches))
    share = schedule_macs(model, story.schedule, num_steps) / (num_steps * forward_macs(model, num_patches))
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    edges = np.cumsum([0, *(steps for steps, _ in stages)])
    tokens = [kept + model.num_prefix_tokens for _, kept in stages]
    axes.stairs([num_patches + 1], [0, num_steps], color=GREY, linestyle="--", label="dense: every patch, to the end")
    axes.stairs(tokens, edges, fill=True, color=GREEN, alpha=0.8, label="sparse: patches that are left, and CLS")
    for start, end, count in zip(edges, edges[1:], tokens):
        axes.text((start + end) / 2, count / 2, str(count), ha="center", va="center", color="white", fontsize=9)
    axes.set(xlabel="step", ylabel="tokens in the model", xlim=(0, num_steps), ylim=(0, 1.4 * num_patches))
    axes.legend(loc="upper right", fontsize=8)
    axes.set_title(f"What is gone is not computed: {100 * share:.0f} % of a dense run's arithmetic", fontsize=11)
    return figure


def draw_calibration(story: Story) -> Figure:
    """Largest input of each layer, on three sets of images, against that of real ones."""
    teacher = story.teacher
    (noise,) = ControlSpec("gaussian").make(teacher, [story.finished], [0])
    sets = {"Gaussian noise": (RED, noise), "inverted, kept patches": (GREEN, story.finished)}
    pictures = [Image.fromarray(digit) for digit in generate_digits("test", 64)[0]]
    pixels = torch.from_numpy(preprocess(pictures, teacher.image_processor))
    real = _largest(teacher, KeptImages(pixels, teacher.model.grid.all_patches(len(pixels)), "real"))
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(100, color=GREY, linestyle="--", label="64 real images")
    off = {}
    for label, (color, images) in sets.items():
        share = 100 * _largest(teacher, images) / real
        axes.plot(share, ".-", color=color, label=f"{len(images)} images: {label}")
        off[label] = np.abs(share - 100).mean()
    axes.set(xlabel="Linear layer, from the first to the last", ylabel="largest input, % of the real one")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    noise_off, inverted_off = off.values()
    axes.set_title(
        f"How large numbers become: inverted images are off by {inverted_off:.0f} %, noise by {noise_off:.0f} %",
        fontsize=11,
    )
    return figure


def _largest(teacher: Teacher, images: KeptImages) -> np.ndarray:
    return np.array([float(maxima[0]) for maxima in activation_maxima(teacher.model, images).values()])


def draw_all(output_dir: Path, num_steps: int) -> None:
    teacher = load_teacher(str(TEACHER_PATH))
    story = Story(teacher, num_steps)
    output_dir.mkdir(parents=True, exist_ok=True)
    figures = {
        "1_start": draw_starts(teacher),
        "2_attention": draw_attention(story),
        "3_stages": draw_stages(story),
        "4_tokens": draw_tokens(story),
        "5_calibration": draw_calibration(story),
    }
    for name, figure in figures.items():
        # Without the version of matplotlib, so that the same picture is the same file.
        figure.savefig(output_dir / f"{name}.png", dpi=110, metadata={"Software": None})
        print(output_dir / f"{name}.png")


if __name__ == "__main__":
    (given,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    draw_all(Path(given.output_dir), given.num_steps)
