"""Speed, memory and quality of sparse inversion, against its own dense step and against a plain implementation.

    python recipes/benchmarks/inversion.py --model_name_or_path path/to/deit-tiny \
        --output out/benchmark-inversion.json

All sides take turns in one run, after a warm-up, so a machine that drifts slows all alike; times are medians.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from smi_hf import SparseInversionConfig, SparseInversionTrainer, Teacher, load_teacher
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.environment import describe_device, package_versions
from smi_hf.evaluation.cost import forward_macs, schedule_macs
from smi_hf.inversion.state import TrajectoryState
from smi_hf.inversion.step import inversion_step
from smi_hf.models.attention import attention_implementation
from smi_hf.patches import Augmentation, PruneSchedule, draw_augmentations, take_slots

PAPER_STEPS = 4000
LOSS_WEIGHTS = {"cross_entropy": 1.0, "total_variation": 1e-4 * 32**0.5}


@dataclass
class Arguments:
    """What is measured and how often."""

    model_name_or_path: str = field(metadata={"help": "Classifier: Hub id or folder."})
    output: str = field(default="out/benchmark-inversion.json", metadata={"help": "JSON file for the figures."})
    batch_size: int = field(default=32, metadata={"help": "Images a step."})
    repeats: int = field(default=7, metadata={"help": "Timed rounds; every side takes a step in each."})
    num_images: int = field(default=32, metadata={"help": "Images of the quality run; 0 to skip it."})
    num_steps: int = field(default=400, metadata={"help": "Steps of the quality run."})
    seed: int = field(default=0, metadata={"help": "Seed of the quality run."})
    memory: bool = field(default=True, metadata={"help": "Measure peak memory at two and at eight batches of images."})
    peak_of: int = field(default=0, metadata={"help": "Only make that many images in 2 steps and print peak MiB."})


def sparse_side(
    teacher: Teacher, batch_size: int, num_kept: int, autocast: Callable[[], AbstractContextManager] = nullcontext
) -> Callable[[], None]:
    """Our step with that many kept patches."""
    grid = teacher.model.grid
    state = TrajectoryState.start(range(batch_size), [1] * batch_size, grid, seed=0)
    slots = [torch.randperm(grid.num_patches, generator=generator)[:num_kept] for generator in state.generators]
    shifts, flips = draw_augmentations(grid, 100, state.generators)

    def step() -> None:
        drawn = Augmentation(shifts[state.step % 100], flips[state.step % 100])
        inversion_step(
            teacher.model,
            state,
            [drawn],
            loss_weights=LOSS_WEIGHTS,
            normalization=teacher.normalization,
            autocast=autocast,
        )

    step()  # fills Adam's moments, so that dropping patches drops theirs
    state.keep(torch.stack(slots).sort(dim=1).values)
    return step


def plain_side(teacher: Teacher, batch_size: int, num_kept: int) -> Callable[[], None]:
    """What one would write first: trainable weights, every attention map, embedding of all patches, then gather."""
    model, grid = teacher.model.model, teacher.model.grid
    generator = torch.Generator().manual_seed(0)
    pixels_BCHW = torch.randn(batch_size, 3, *grid.image_size, generator=generator).requires_grad_()
    kept_BK = torch.rand(batch_size, grid.num_patches, generator=generator).topk(num_kept).indices.sort().values
    targets_B = torch.ones(batch_size, dtype=torch.int64)
    optimizer = torch.optim.Adam([pixels_BCHW], lr=0.25, betas=(0.5, 0.99))
    low, high = teacher.normalization.bounds(pixels_BCHW)
    embeddings, num_prefix = teacher.model.embeddings, teacher.model.num_prefix_tokens
    limit = grid.image_height // 8

    def step() -> None:
        model.requires_grad_(True)
        model.zero_grad()
        optimizer.zero_grad()
        shift = torch.randint(-limit, limit + 1, (2,), generator=generator).tolist()
        moved_BCHW = torch.roll(pixels_BCHW, shift, dims=(2, 3))
        if torch.rand((), generator=generator) < 0.5:
            moved_BCHW = moved_BCHW.flip(3)
        with attention_implementation(model, "eager"):
            tokens = embeddings(moved_BCHW)
            tokens = torch.cat([tokens[:, :num_prefix], take_slots(tokens[:, num_prefix:], kept_BK)], dim=1)
            with teacher.model.embeddings_bypassed():
                logits = model(pixel_values=tokens, output_attentions=True).logits
        loss = F.cross_entropy(logits, targets_B) + 1e-4 * _total_variation(moved_BCHW)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pixels_BCHW.clamp_(low, high)
        model.requires_grad_(False)

    return step


def _total_variation(pixels_BCHW: Tensor) -> Tensor:
    x = pixels_BCHW
    pairs = (
        x[..., 1:] - x[..., :-1],
        x[..., 1:, :] - x[..., :-1, :],
        x[..., 1:, 1:] - x[..., :-1, :-1],
        x[..., 1:, :-1] - x[..., :-1, 1:],
    )
    return sum(pair.norm() for pair in pairs)


def measure_steps(teacher: Teacher, arguments: Arguments, counts: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Median milliseconds of a step by side and number of kept patches."""
    size = arguments.batch_size
    sides = {}
    for count in counts:
        sides["ours", count] = sparse_side(teacher, size, count)
        sides["bf16", count] = sparse_side(teacher, size, count, _bfloat16)
        sides["plain", count] = plain_side(teacher, size, count)
    times: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for round_number in range(arguments.repeats + 1):
        for side, step in sides.items():
            started = time.perf_counter()
            step()
            if round_number:  # the first warms up
                times[side].append(1000 * (time.perf_counter() - started))
    medians = {side: statistics.median(values) for side, values in times.items()}
    return {name: {count: medians[name, count] for count in counts} for name in ("ours", "bf16", "plain")}


def _bfloat16() -> AbstractContextManager:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def invert(teacher: Teacher, arguments: Arguments, folder: str, num_images: int, num_steps: int) -> dict:
    """Results of a run of the real trainer."""
    config = SparseInversionConfig(
        output_dir=folder,
        num_images=num_images,
        num_steps=num_steps,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
    )
    trainer = SparseInversionTrainer(teacher, config)
    trainer.train()
    return trainer.record.results


def peak_mib(arguments: Arguments, num_images: int) -> float:
    """Peak resident memory of a process of its own that makes that many images."""
    command = [sys.executable, __file__, "--model_name_or_path", arguments.model_name_or_path]
    command += ["--batch_size", str(arguments.batch_size), "--peak_of", str(num_images)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[-1])


def _peak_mib_of_this_process() -> float:
    """Not getrusage: its maximum is inherited from the process that started this one."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    (arguments,) = ArgumentParser(Arguments, prog="inversion.py", description=__doc__).parse()
    teacher = load_teacher(arguments.model_name_or_path)
    if arguments.peak_of:
        with tempfile.TemporaryDirectory() as folder:
            invert(teacher, arguments, folder, arguments.peak_of, num_steps=2)
        print(_peak_mib_of_this_process())
        return

    console = Console()
    num_patches = teacher.model.grid.num_patches
    schedule = PruneSchedule.resolve(PAPER_STEPS)
    counts = schedule.keep_counts(num_patches)
    times = measure_steps(teacher, arguments, counts)
    ours, plain = times["ours"], times["plain"]
    dense_macs = forward_macs(teacher.model, num_patches)

    steps_table = Table(title=f"One step of {arguments.batch_size} images, median of {arguments.repeats} [ms]")
    for heading in ("patches", "ours", "of our dense step", "FLOP bound", "plain", "plain / ours", "ours, bf16"):
        steps_table.add_column(heading, justify="right")
    for count in counts:
        steps_table.add_row(
            str(count),
            f"{ours[count]:.0f}",
            f"{ours[count] / ours[num_patches]:.3f}",
            f"{forward_macs(teacher.model, count) / dense_macs:.3f}",
            f"{plain[count]:.0f}",
            f"{plain[count] / ours[count]:.2f}",
            f"{times['bf16'][count]:.0f}",
        )
    console.print(steps_table)

    stages = list(schedule.stages(PAPER_STEPS, num_patches))
    ours_schedule = sum(steps * ours[count] for steps, count in stages)
    figures = {
        "sparse_step_over_dense_step": ours[counts[-1]] / ours[num_patches],
        "plain_sparse_step_over_ours": plain[counts[-1]] / ours[counts[-1]],
        "schedule_ours_sparse_over_ours_dense": PAPER_STEPS * ours[num_patches] / ours_schedule,
        "schedule_plain_dense_over_ours_sparse": PAPER_STEPS * plain[num_patches] / ours_schedule,
        "schedule_plain_dense_over_ours_sparse_bf16": PAPER_STEPS
        * plain[num_patches]
        / sum(steps * times["bf16"][count] for steps, count in stages),
        "schedule_flop_bound": PAPER_STEPS * dense_macs / schedule_macs(teacher.model, schedule, PAPER_STEPS),
    }
    if arguments.num_images:
        with tempfile.TemporaryDirectory() as folder:
            quality = invert(teacher, arguments, folder, arguments.num_images, arguments.num_steps)
        figures["target_top1_read_back"] = quality["target_top1"]
        figures["mean_target_probability"] = quality["mean_target_probability"]
        figures["quality_run_seconds"] = quality["seconds_this_session"]
    if arguments.memory:
        # From two batches on: the first finds the allocator's pools empty.
        figures["peak_mib_two_batches"] = peak_mib(arguments, 2 * arguments.batch_size)
        figures["peak_mib_eight_batches"] = peak_mib(arguments, 8 * arguments.batch_size)

    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)
    report = {
        "arguments": asdict(arguments),
        "device": describe_device("cpu"),
        "packages": package_versions(),
        "step_ms": times,
        "figures": figures,
    }
    Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
    Path(arguments.output).write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"Written to {arguments.output}")


if __name__ == "__main__":
    main()
