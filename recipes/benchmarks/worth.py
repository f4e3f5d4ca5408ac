"""What sets of images are worth for compressing a model, between Gaussian noise (0) and photographs (1).

    python recipes/benchmarks/worth.py --model_name_or_path path/to/deit-tiny --judge photographs.parquet \
        --sets smi=out/deit-tiny --output out/benchmark-worth.json

Each task makes a compressed model from nothing but the images of a set and judges it on photographs. All sets are
compared at equal tokens: equally many images, cut to equally many random patches where a set has more. A second run
with the same file measures only what is new.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from worth_parts.results import Cell, Line, WorthRecord, make_lines, make_table, read_cells, save, save_plot
from worth_parts.sets import NOISE, PHOTOGRAPHS, Judge, Row, Sets, images_sha256
from worth_parts.tasks import TASKS, Task

from smi_hf import Teacher, UsageError, load_teacher
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.main import answer_errors
from smi_hf.cli.tables import make_console
from smi_hf.environment import check_extra, describe_environment
from smi_hf.evaluation.predictors import pytorch_predictor
from smi_hf.images.controls.base import ControlSpec
from smi_hf.registry import unknown_name

_EPILOG = f"""tasks:
{chr(10).join(f"  {name:<18} {task.purpose}" for name, task in TASKS.items())}

controls, as SPEC of a set (filled and random change other sets, and are none here):
{ControlSpec.help()}

examples:
  worth.py --model_name_or_path path/to/deit-tiny --judge photographs.parquet --sets smi=out/deit-tiny --tasks halving
  worth.py --model_name_or_path path/to/deit-tiny --judge imagenet-1k:validation --photographs imagenet-1k:train \\
      --sets smi=out/seed0 smi=out/seed1 smi=out/seed2 dense=out/dense --plot out/worth.png
"""


@dataclass
class Arguments:
    """What is compared, and on what."""

    model_name_or_path: str = field(metadata={"help": "Teacher: Hub id or folder."})
    judge: str = field(
        metadata={"help": "Labeled photographs to judge on: Hub id, folder or parquet file; DATASET:SPLIT."}
    )
    sets: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Sets of images, NAME=SPEC each: a sparse dataset (folder or Hub id) or a control. A dataset of "
            "several times num_images, or a name given again, is several runs. Gaussian noise and photographs are "
            "measured always."
        },
    )
    photographs: str | None = field(
        default=None,
        metadata={
            "help": "Dataset of the photographs that are worth 1. None that judges is drawn. Default: the judge's."
        },
    )
    tasks: list[str] = field(
        default_factory=list,
        metadata={"help": "Tasks (below). Default: all; those whose extra is absent are skipped."},
    )
    num_images: int = field(default=64, metadata={"help": "Images of every set."})
    num_patches: int | None = field(
        default=None,
        metadata={"help": "Patches of every image. Default: those of the sparse dataset that keeps fewest."},
    )
    judge_images: int = field(default=400, metadata={"help": "Photographs to judge on, the first of the dataset."})
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2],
        metadata={"help": "Seeds of noise, of controls, and of the choice of photographs: one run each."},
    )
    output: str = field(
        default="out/benchmark-worth.json", metadata={"help": "JSON file for the figures; what is in it is kept."}
    )
    plot: str | None = field(default=None, metadata={"help": "PNG file for a plot of worth and seconds."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})

    def __post_init__(self) -> None:
        for option in ("num_images", "num_patches", "judge_images"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UsageError(f"{option} must be at least 1, but {value} was given")
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or not all(0 <= seed < 2**63 for seed in self.seeds)
        ):
            raise UsageError(
                f"seeds are {self.seeds}, but must be different numbers from 0 to 2**63 - 1, at least one"
            )
        for name in self.tasks:
            if name not in TASKS:
                raise unknown_name("task", name, list(TASKS))


def measure(
    teacher: Teacher,
    judge: Judge,
    rows: Sequence[Row],
    tasks: dict[str, Task],
    known: Sequence[Cell],
    *,
    disable_tqdm: bool = False,
) -> Iterator[tuple[str, str, Cell]]:
    """Name of set and task, and the cell, of every run of every set at every task; what is known is not run."""
    found = {cell.key: cell for cell in known}
    teacher_sha256 = teacher.weights_sha256()
    digests = {row.name: [images_sha256(images) for images in row.runs] for row in rows}
    total = len(tasks) * sum(len(row.runs) for row in rows)
    with tqdm(total=total, desc="Measuring", unit="model", disable=disable_tqdm) as bar:
        for name, task in tasks.items():
            wanted = [
                (row, run, Cell(name, str(task), digest, teacher_sha256, judge.sha256, run, 0.0, 0.0))
                for row in rows
                for run, digest in enumerate(digests[row.name])
            ]
            bar.set_postfix_str(name)
            for row, _, cell in wanted:
                if cell.key in found:
                    bar.update()
                    yield row.name, name, found[cell.key]
            left = [each for each in wanted if each[2].key not in found]
            if not left:
                continue
            with task.open(teacher, judge.images) as make:
                for row, run, cell in left:
                    # Two sets of the same images are one model.
                    if cell.key not in found:
                        started = time.perf_counter()
                        top1 = judge.top1(make(row.runs[run], run))
                        seconds = round(time.perf_counter() - started, 3)
                        found[cell.key] = replace(cell, top1=top1, seconds=seconds)
                    bar.update()
                    yield row.name, name, found[cell.key]


def float_cell(teacher: Teacher, judge: Judge, known: Mapping[Any, Cell]) -> Cell:
    """The teacher itself on the judge's photographs."""
    cell = Cell("float32", "{}", "", teacher.weights_sha256(), judge.sha256, 0, 0.0, 0.0)
    if cell.key in known:
        return known[cell.key]
    return replace(cell, top1=judge.top1(pytorch_predictor(teacher.model, teacher.image_processor)))


def run(given: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes file and plot."""
    parser = ArgumentParser(Arguments, prog="worth.py", description=__doc__, epilog=_EPILOG)
    (arguments,) = parser.parse(given)
    if arguments.plot:
        check_extra("plots", "--plot")
    chosen = {name: TASKS[name] for name in arguments.tasks or TASKS}
    tasks = {name: task for name, task in chosen.items() if task.lack is None}
    for name, task in chosen.items():
        if task.lack is not None:
            print(f"task {name} is skipped: {task.lack}", file=sys.stderr)
    if not tasks:
        raise UsageError("every task was skipped; install an extra, or choose others with --tasks")
    output = Path(arguments.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    cells = {cell.key: cell for cell in read_cells(output)}

    teacher = load_teacher(arguments.model_name_or_path)
    judge = Judge(arguments.judge, teacher, arguments.judge_images)
    sets = Sets(teacher, judge, arguments.num_images, arguments.seeds)
    photographs = arguments.photographs or arguments.judge
    rows = sets.rows(arguments.sets, photographs, arguments.num_patches)
    in_float = float_cell(teacher, judge, cells)
    cells[in_float.key] = in_float
    record = WorthRecord(_about(arguments, teacher, judge, rows, in_float), describe_environment("cpu", "onnx"))
    top1: dict[str, dict[str, list[float]]] = {name: {row.name: [] for row in rows} for name in tasks}
    known = list(cells.values())
    measured = 0
    for images, task, cell in measure(teacher, judge, rows, tasks, known, disable_tqdm=arguments.disable_tqdm):
        top1[task][images].append(cell.top1)
        if cell.key not in cells:
            measured += 1
            cells[cell.key] = cell
            save(replace(record, cells=tuple(cells.values()), lines=_lines(top1, rows)), output)
    lines = _lines(top1, rows)
    save(replace(record, cells=tuple(cells.values()), lines=lines), output)
    console = make_console()
    title = (
        f"{teacher.name}, {arguments.num_images} images of each set, judged on {arguments.judge_images} photographs"
    )
    console.print(make_table(lines, title))
    total = sum(len(runs) for task in top1.values() for runs in task.values())
    console.print(f"{measured} of {total} models were made, the others are from {output}", markup=False)
    if arguments.plot:
        Path(arguments.plot).parent.mkdir(parents=True, exist_ok=True)
        save_plot(lines, Path(arguments.plot))


def _lines(top1: dict[str, dict[str, list[float]]], rows: Sequence[Row]) -> tuple[Line, ...]:
    finished = {task: {name: runs for name, runs in sets.items() if runs} for task, sets in top1.items()}
    num_patches = {row.name: row.num_patches for row in rows}
    seconds = {row.name: row.seconds for row in rows}
    return tuple(make_lines(finished, num_patches, seconds, noise=NOISE, photographs=PHOTOGRAPHS))


def _about(
    arguments: Arguments, teacher: Teacher, judge: Judge, rows: Sequence[Row], in_float: Cell
) -> dict[str, object]:
    """What a reader must know of the figures; no path of this machine."""
    return {
        "teacher": teacher.name,
        "judge": asdict(judge.images.reference()),
        "float_top1": in_float.top1,
        "disjoint": "a photograph of which a pixel-equal one is among the judge's was never drawn",
        "num_images": arguments.num_images,
        "num_patches": {row.name: row.num_patches for row in rows},
        "seeds": arguments.seeds,
    }


if __name__ == "__main__":
    sys.exit(answer_errors(run))
