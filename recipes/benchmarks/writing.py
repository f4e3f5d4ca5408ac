"""Cost and memory of writing, merging and loading a sparse dataset of many images: both should stay flat.

    python recipes/benchmarks/writing.py --num_images 20000 --plot out/benchmark-writing.png

The images are tiny (32 x 32 px, half of the patches kept) and random, as it is the number of them that is looked at;
writer, merge and reader are those of `smi-hf invert` and `smi_hf.load_sparse_dataset`.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import datasets
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from smi_hf import SparseInversionConfig, load_sparse_dataset
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.data import DatasetRecord, FinishedImages
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.models import CheckpointReference

NUM_LABELS = 1000
NUM_PATCHES, NUM_KEPT = 16, 8
NUM_STEPS = 2
SAMPLE_SECONDS = 0.01


@dataclass
class Arguments:
    """What is written."""

    num_images: int = field(default=20_000, metadata={"help": "Images."})
    patch_size: int = field(default=8, metadata={"help": "Side of a patch in pixels; an image has 4 x 4."})
    batch_size: int = field(default=32, metadata={"help": "Images a shard, before merging."})
    max_shard_bytes: int = field(default=10_000_000, metadata={"help": "Largest shard after merging."})
    output: str | None = field(default=None, metadata={"help": "JSON file for the figures."})
    plot: str | None = field(default=None, metadata={"help": "PNG file for a plot of memory and cost."})


@dataclass
class Measurement:
    """One line of the table.

    Args:
        phase: what was done.
        images: how many it was done with so far.
        seconds_per_1000, cpu_seconds_per_1000: since the line before; the second is not disturbed by other processes.
        memory_mib: peak since the line before, without files that are mapped into the process, which the system may
            drop at any time.
    """

    phase: str
    images: int
    seconds_per_1000: float
    cpu_seconds_per_1000: float
    memory_mib: float


def memory_mib() -> float:
    """Memory of this process that is no file."""
    memory = psutil.Process().memory_info()
    return (memory.rss - getattr(memory, "shared", 0)) / 2**20


class PeakMemory:
    """The largest memory since it was last asked for, by a thread that looks every hundredth of a second."""

    def __init__(self) -> None:
        self._peak = memory_mib()
        self._ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, memory_mib())

    def take(self) -> float:
        now = memory_mib()
        peak, self._peak = max(self._peak, now), now
        return peak

    def end(self) -> None:
        self._ended.set()


def measured(phase: str, counts: Iterable[int], every: int) -> Iterator[Measurement]:
    """Runs through what yields a number of images at a time, and measures every so many of them."""
    memory = PeakMemory()
    images = since = 0
    started = np.array([time.perf_counter(), time.process_time()])

    def measure() -> Measurement:
        now = np.array([time.perf_counter(), time.process_time()])
        return Measurement(phase, images, *(1000 * (now - started) / since).tolist(), memory.take())

    for count in counts:
        images, since = images + count, since + count
        if since >= every:
            yield measure()
            since, started = 0, np.array([time.perf_counter(), time.process_time()])
    if since:
        yield measure()
    memory.end()


def make_record(num_images: int, patch_size: int) -> DatasetRecord:
    """The record of a run that never was."""
    return DatasetRecord(
        teacher=CheckpointReference(name="none", revision=None, model_type="vit", weights_sha256="0" * 64),
        label_names=[f"label {label}" for label in range(NUM_LABELS)],
        image_size=(4 * patch_size, 4 * patch_size),
        patch_size=(patch_size, patch_size),
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        settings=SparseInversionConfig(
            num_images=num_images, num_steps=NUM_STEPS, policy="random", prune_steps=[1], prune_ratios=[0.5]
        ).image_settings(),
        keep_counts=(NUM_PATCHES, NUM_KEPT),
    )


def make_images(first: int, count: int, patch_size: int) -> FinishedImages:
    """Random images as a trajectory would hand them over."""
    generator = np.random.default_rng(first)
    return FinishedImages(
        image_indices=tuple(range(first, first + count)),
        seed=0,
        steps=NUM_STEPS,
        labels=generator.integers(0, NUM_LABELS, count).tolist(),
        patches_BKCPQ=generator.integers(0, 256, (count, NUM_KEPT, 3, patch_size, patch_size), dtype=np.uint8),
        kept_BK=np.sort(generator.permuted(np.tile(np.arange(NUM_PATCHES), (count, 1)), axis=1)[:, :NUM_KEPT], axis=1),
        target_probability_B=generator.random(count),
    )


def run(arguments: Arguments, folder: Path) -> Iterator[Measurement]:
    """Every phase, as a run goes through them; `folder` must not exist."""
    num_images, size = arguments.num_images, arguments.batch_size
    every = max(size, num_images // 10)
    record = make_record(num_images, arguments.patch_size)
    writer = SparseDatasetWriter(folder, record, max_shard_bytes=arguments.max_shard_bytes)
    writer.open()

    def write() -> Iterator[int]:
        for first in range(0, num_images, size):
            count = min(size, num_images - first)
            writer.write(make_images(first, count, arguments.patch_size))
            yield count

    def at_once(step: Callable[[], object]) -> Iterator[int]:
        step()
        yield num_images

    yield from measured("write", write(), every)
    yield from measured("merge", at_once(writer.merge), num_images)
    figures = {"target_top1": 0.0, "mean_target_probability": 0.5}
    record.completed({"content_sha256": writer.content_sha256(), **figures}).save(folder)
    yield from measured("load", at_once(lambda: load_sparse_dataset(folder)), num_images)
    loaded, streamed = load_sparse_dataset(folder), load_sparse_dataset(folder, streaming=True)
    batches = (loaded.batch(range(first, min(first + size, num_images))) for first in range(0, num_images, size))
    yield from measured("by number", (len(batch["labels"]) for batch in batches), every)
    streams = (streamed.collate(rows) for rows in _in_batches(streamed.dataset, size))
    yield from measured("stream", (len(batch["labels"]) for batch in streams), every)


def _in_batches(rows: Iterable[dict], size: int) -> Iterator[list[dict]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def make_table(measurements: Iterable[Measurement]) -> Table:
    table = Table(title="Writing and loading many images")
    for name in ("", "images so far", "s per 1,000", "CPU s per 1,000", "peak MiB"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for line in measurements:
        cost = f"{line.seconds_per_1000:.2f}", f"{line.cpu_seconds_per_1000:.2f}"
        table.add_row(line.phase, f"{line.images:,}", *cost, f"{line.memory_mib:.0f}")
    return table


def save_plot(measurements: list[Measurement], path: Path) -> None:
    """Memory and cost of each phase over the images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("memory_mib", "cpu_seconds_per_1000"),
        ("peak memory, MiB", "CPU seconds per 1,000 images"),
    ):
        for phase in dict.fromkeys(line.phase for line in measurements):
            lines = [line for line in measurements if line.phase == phase]
            axes.plot([line.images for line in lines], [getattr(line, name) for line in lines], "o-", label=phase)
        axes.set(xlabel="images", ylabel=label, ylim=(0, None))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    (arguments,) = ArgumentParser(Arguments, prog="writing.py", description=__doc__).parse()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="smi-hf-writing-") as work:
        # The copy that `datasets` makes goes when the folder goes.
        datasets.config.HF_DATASETS_CACHE = Path(work) / "cache"
        datasets.disable_progress_bars()
        measurements = list(run(arguments, Path(work) / "dataset"))
        shards = sorted((Path(work) / "dataset" / "data").iterdir())
        console.print(make_table(measurements))
        console.print(f"{len(shards)} shards of at most {max(path.stat().st_size for path in shards) / 1e6:.1f} MB")
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        Path(arguments.output).write_text(json.dumps([asdict(line) for line in measurements], indent=2) + "\n")
    if arguments.plot:
        save_plot(measurements, Path(arguments.plot))


if __name__ == "__main__":
    main()
