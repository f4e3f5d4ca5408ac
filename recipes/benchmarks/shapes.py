"""What each way to show sparse images to a graph of fixed shape costs: accuracy, and seconds of calibration.

    python recipes/benchmarks/shapes.py --model_name_or_path path/to/deit-tiny --judge photographs.parquet \
        --sparse out/deit-tiny --dense out/dense --quantize_outputs

The same quantizer is calibrated on the same images in each shape: kept patches alone, where the back end's graph
takes any number of them; tiled and filled, whole images of them; dense ones; and on the controls asked for.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from smi_hf import QuantizationConfig, Teacher, UsageError, load_image_set, load_sparse_dataset, load_teacher
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.main import answer_errors
from smi_hf.evaluation.comparison import compare
from smi_hf.files import replaced_atomically
from smi_hf.images.controls.base import ControlSpec, parse_controls
from smi_hf.images.controls.filled import all_patches
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.images.real import ImageSet
from smi_hf.images.tiles import tile_images
from smi_hf.quantization.quantizer import Quantizer

_EPILOG = f"controls:\n{ControlSpec.help()}\n"


@dataclass
class Arguments:
    """What is calibrated, on what, and what judges it."""

    model_name_or_path: str = field(metadata={"help": "Teacher: Hub id or folder."})
    judge: str = field(metadata={"help": "Labeled photographs to judge on: Hub id, folder or parquet file."})
    sparse: list[str] = field(metadata={"help": "Sparse datasets of the teacher, one a run."})
    dense: list[str] = field(
        default_factory=list, metadata={"help": "Datasets that keep every patch (--policy dense), one a run."}
    )
    controls: list[str] = field(default_factory=list, metadata={"help": "Further rows (below)."})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "Seeds of the controls, one a run."})
    backend: str = field(default="onnx", metadata={"help": "Back end of smi-hf quantize."})
    operators: list[str] = field(default_factory=list, metadata={"help": "As of smi-hf quantize; 'all' for NPUs."})
    quantize_outputs: bool = field(default=False, metadata={"help": "As of smi-hf quantize."})
    num_images: int | None = field(default=None, metadata={"help": "Images of each set. Default: all."})
    judge_images: int | None = field(default=None, metadata={"help": "Judge on that many photographs. Default: all."})
    output: str | None = field(default=None, metadata={"help": "JSON file for the figures."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Args:
        images, tokens: that calibration saw, of one run.
        seconds: of one calibration, the median of the runs; with what the back end does besides, equal in all rows.
        top1: of each run, in [0, 1].
    """

    shape: str
    images: int
    tokens: int
    seconds: float
    top1: list[float]


def calibration_sets(arguments: Arguments, teacher: Teacher) -> dict[str, list[KeptImages]]:
    """Images of each row, one set a run."""

    def load(paths: Sequence[str]) -> list[KeptImages]:
        return [sparse_images(load_sparse_dataset(path, teacher=teacher), arguments.num_images) for path in paths]

    kept, model = load(arguments.sparse), teacher.model
    rows = {
        "kept": kept,
        "tiled": [tile_images(images, model.grid) for images in kept],
        "filled": [all_patches(images, model) for images in kept],
    }
    if arguments.dense:
        rows["dense"] = load(arguments.dense)
        if {images.kept_BK.shape[1] for images in rows["dense"]} != {model.grid.num_patches}:
            raise UsageError("a dataset of --dense does not keep every patch; make it with --policy dense")
    for key, control in parse_controls(arguments.controls).items():
        rows[key] = control.make(teacher, kept, arguments.seeds)
    return rows


def measure(
    quantizer: Quantizer, rows: Mapping[str, Sequence[KeptImages]], judge: ImageSet, *, disable_tqdm: bool = False
) -> list[Line]:
    """Calibrates on every set, one after the other, and judges all models on the same photographs."""
    with tempfile.TemporaryDirectory() as work:
        models, seconds = {"float": [quantizer.float_predictor()]}, {}
        for key, sets in rows.items():
            models[key], seconds[key] = [], []
            for run, images in enumerate(sets):
                folder = Path(work) / f"{len(models)}-{run}"
                started = time.perf_counter()
                quantizer.quantize(images, folder)
                seconds[key].append(time.perf_counter() - started)
                models[key].append(quantizer.load(folder))
        judged = compare(models, judge, {key: key for key in models}, disable_tqdm=disable_tqdm)
    lines = []
    for row in judged:
        shown = rows[row.key][0].kept_BK if row.key in rows else None
        top1 = [scores.top1 for scores in row.runs]
        images, tokens = (0, 0) if shown is None else (len(shown), shown.numel())
        median = round(statistics.median(seconds.get(row.key, [0.0])), 2)
        lines.append(Line(row.key, images, tokens, median, top1))
    return lines


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown."""
    rows = ["| shape | images | patches | seconds | top-1 % |", "|---|---:|---:|---:|---:|"]
    for line in lines:
        spread = f" ± {100 * statistics.stdev(line.top1):.1f}" if len(line.top1) > 1 else ""
        seen = f"{line.images} | {line.tokens} | {line.seconds:.1f}" if line.images else " | | "
        rows.append(f"| {line.shape} | {seen} | {100 * statistics.mean(line.top1):.1f}{spread} |")
    return "\n".join(rows)


def run(given: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes the file."""
    (arguments,) = ArgumentParser(Arguments, prog="shapes.py", description=__doc__, epilog=_EPILOG).parse(given)
    config = QuantizationConfig(
        backend=arguments.backend, operators=arguments.operators, quantize_outputs=arguments.quantize_outputs
    )
    teacher = load_teacher(arguments.model_name_or_path)
    judge = load_image_set(arguments.judge, teacher.label_names, max_images=arguments.judge_images)
    with Quantizer(teacher, config) as quantizer:
        rows = calibration_sets(arguments, teacher)
        lines = measure(quantizer, rows, judge, disable_tqdm=arguments.disable_tqdm)
    print(table(lines))
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(Path(arguments.output)) as temporary:
            temporary.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(answer_errors(run, continues=False))
