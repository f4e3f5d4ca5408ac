"""What the quantizers of transformers' own exporters make of a model, by the images that they are calibrated on.

    python recipes/benchmarks/exporters.py --model_name_or_path path/to/deit-tiny --judge photographs.parquet \
        --sparse out/seed0 out/seed1 out/seed2 --controls gaussian dead_leaves real=photographs.parquet --seeds 0 1 2

None of smi_hf's quantization takes part: the model is exported by `transformers.exporters` with a quantizer's defaults
and a `calibration_dataset`, as the documentation of transformers shows, and judged on photographs. Without images such
a quantizer calibrates on the one sample that the export is traced with. Needs transformers 5.
"""

import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from worth_parts.sets import Judge

from smi_hf import RunError, Teacher, UsageError, load_image_set, load_sparse_dataset, load_teacher
from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.main import answer_errors
from smi_hf.evaluation.predictors import Answer, pytorch_predictor
from smi_hf.files import one_line, replaced_atomically
from smi_hf.images.controls.base import ControlSpec, parse_controls
from smi_hf.images.controls.real import real_images
from smi_hf.images.kept import sparse_images
from smi_hf.quantization.exports.quiet import quiet
from smi_hf.registry import unknown_name

logger = logging.getLogger(__name__)

# From a model, what it is traced with, the images to calibrate on (None for that sample alone) and a folder, to a
# function from the pixels of one image (1, C, H, W), as the shape is fixed, to logits (1, L).
Export = Callable[[Teacher, Tensor, Sequence[dict[str, Tensor]] | None, Path], Answer]


def _with_onnx(quantizer: str, *, keeps_logits: bool = False, **options: Any) -> Export:
    def export(
        teacher: Teacher, sample_1CHW: Tensor, images: Sequence[dict[str, Tensor]] | None, folder: Path
    ) -> Answer:
        import onnxruntime
        from transformers import exporters

        spared = [_last_linear(teacher, sample_1CHW, folder.with_name("float"))] if keeps_logits else None
        settings = exporters.OnnxRuntimeStaticConfig(nodes_to_exclude=spared, **options) if options else None
        made = getattr(exporters, quantizer)(settings, calibration_dataset=images)
        config = exporters.OnnxConfig(quantizer=made)
        model = teacher.model.model
        exporters.OnnxExporter().export(model, {"pixel_values": sample_1CHW}, config).save_pretrained(folder)
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        return lambda pixels_1CHW: session.run(None, {"pixel_values": pixels_1CHW})[0]

    return export


def _last_linear(teacher: Teacher, sample_1CHW: Tensor, folder: Path) -> str:
    """Name of the last Gemm of the exported graph, whose result is the logits."""
    import onnx
    from transformers import exporters

    exporters.OnnxExporter().export(
        teacher.model.model, {"pixel_values": sample_1CHW}, exporters.OnnxConfig()
    ).save_pretrained(folder)
    graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
    return [node.name for node in graph.node if node.op_type == "Gemm"][-1]


def _with_openvino(
    teacher: Teacher, sample_1CHW: Tensor, images: Sequence[dict[str, Tensor]] | None, folder: Path
) -> Answer:
    from transformers import exporters

    from smi_hf.quantization.backends.openvino import openvino_core

    made = exporters.NNCFOpenVINOQuantizer(calibration_dataset=images)
    config = exporters.OpenVINOConfig(quantizer=made)
    model = teacher.model.model
    exporters.OpenVINOExporter().export(model, {"pixel_values": sample_1CHW}, config).save_pretrained(folder)
    compiled = openvino_core().compile_model(next(folder.glob("*.xml")), "CPU")
    return lambda pixels_1CHW: compiled(pixels_1CHW)[0]


QUANTIZERS: dict[str, tuple[str, Export]] = {
    "onnxruntime": (
        "OnnxRuntimeQuantizer(OnnxRuntimeStaticConfig(per_channel=True))",
        _with_onnx("OnnxRuntimeQuantizer", per_channel=True),
    ),
    "onnxruntime_float_logits": (
        "the same with nodes_to_exclude=[the last layer], whose result stays in floating point",
        _with_onnx("OnnxRuntimeQuantizer", keeps_logits=True, per_channel=True),
    ),
    "nncf_onnx": ("NNCFOnnxQuantizer(), which smooths activations first", _with_onnx("NNCFOnnxQuantizer")),
    "nncf_openvino": ("NNCFOpenVINOQuantizer(), which smooths activations first", _with_openvino),
}

_EPILOG = f"""quantizers:
{chr(10).join(f"  {name:<14} {purpose}" for name, (purpose, _) in QUANTIZERS.items())}

controls:
{ControlSpec.help()}
"""


@dataclass
class Arguments:
    """What is exported, what it is calibrated on, and what judges it."""

    model_name_or_path: str = field(metadata={"help": "Teacher: Hub id or folder."})
    judge: str = field(
        metadata={"help": "Labeled photographs to judge on: Hub id, folder or parquet file; the first of them."}
    )
    sparse: list[str] = field(metadata={"help": "Sparse datasets of the teacher, one a run."})
    controls: list[str] = field(default_factory=list, metadata={"help": "Further rows (below)."})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "Seeds of the controls, one a run."})
    quantizers: list[str] = field(
        default_factory=lambda: ["onnxruntime"], metadata={"help": f"Of {', '.join(QUANTIZERS)} (below)."}
    )
    num_images: int = field(default=32, metadata={"help": "Images of each set."})
    judge_images: int = field(default=400, metadata={"help": "Photographs to judge on."})
    photographs: str | None = field(
        default=None,
        metadata={"help": "Dataset of the photographs that one row traces the export with. Default: no such row."},
    )
    output: str | None = field(default=None, metadata={"help": "JSON file for the figures; written after each row."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})

    def __post_init__(self) -> None:
        for name in self.quantizers:
            if name not in QUANTIZERS:
                raise unknown_name("quantizer", name, list(QUANTIZERS))
        for option in ("num_images", "judge_images"):
            if getattr(self, option) < 1:
                raise UsageError(f"{option} must be at least 1, but {getattr(self, option)} was given")


@dataclass(frozen=True)
class Run:
    """What one export is made with.

    Args:
        sample_1CHW: that it is traced with.
        images: to calibrate on; None for the sample alone.
    """

    sample_1CHW: Tensor
    images: Sequence[dict[str, Tensor]] | None


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Args:
        top1: of each run, in [0, 1].
        seconds: of an export with its calibration, the median of the runs.
    """

    quantizer: str
    calibrated_on: str
    top1: list[float]
    seconds: float


def make_runs(arguments: Arguments, teacher: Teacher) -> dict[str, list[Run]]:
    """The runs of each row; all but two are traced with noise, as in the documentation of transformers."""
    shape = (1, teacher.model.num_channels, *teacher.model.grid.image_size)

    def noise(seed: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    rows = {"nothing, its sample is noise": [Run(noise(seed), None) for seed in arguments.seeds]}
    if arguments.photographs:
        photographs = load_image_set(arguments.photographs, teacher.label_names)
        samples = [real_images(photographs, teacher, 1, seed=seed).pixels_BCHW for seed in arguments.seeds]
        rows["nothing, its sample is a photograph"] = [Run(sample_1CHW, None) for sample_1CHW in samples]
    datasets = [load_sparse_dataset(path, teacher=teacher) for path in arguments.sparse]
    for dataset in datasets:
        if len(dataset) < arguments.num_images:
            raise UsageError(
                f"dataset {dataset.name} has {len(dataset)} images, but num_images is {arguments.num_images}; make "
                f"more, or give a smaller num_images"
            )
    kept = [sparse_images(dataset, arguments.num_images) for dataset in datasets]
    for key, control in parse_controls(arguments.controls).items():
        sets = control.make(teacher, kept, arguments.seeds)
        # Whole images: a graph of fixed shape takes no others.
        rows[key] = [Run(noise(0), [{"pixel_values": each[None]} for each in images.pixels_BCHW]) for images in sets]
    for shape_name in ("filled", "tiled"):
        whole = [list(dataset.calibration_samples(shape_name))[: arguments.num_images] for dataset in datasets]
        rows[f"sparse images, {shape_name}"] = [Run(noise(0), samples) for samples in whole]
    return rows


def one_by_one(answer: Answer) -> Answer:
    """A graph that takes one image at a time, for batches."""
    return lambda pixels_BCHW: np.concatenate([answer(pixels_1CHW) for pixels_1CHW in pixels_BCHW[:, None]])


def measure(
    teacher: Teacher,
    name: str,
    rows: Mapping[str, Sequence[Run]],
    judge: Judge,
    bar: tqdm,
) -> list[Line]:
    """One quantizer, calibrated on every set in turn.

    Raises:
        RunError: it fails on one of them.
    """
    lines = []
    for key, runs in rows.items():
        top1, seconds = [], []
        for run in runs:
            with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
                started = time.perf_counter()
                try:
                    # Exporters and quantizers tell of every node.
                    with quiet("transformers", "nncf", "torch.onnx", "root"):
                        answer = QUANTIZERS[name][1](teacher, run.sample_1CHW, run.images, Path(work) / "model")
                except Exception as error:  # of quantizers that are not ours, of no common base
                    raise RunError(f"{name} failed on {key}: {type(error).__name__}: {one_line(error)}") from error
                seconds.append(time.perf_counter() - started)
                top1.append(judge.top1(one_by_one(answer)))
            bar.update()
        lines.append(Line(name, key, top1, round(statistics.median(seconds), 1)))
    return lines


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown."""
    rows = ["| quantizer | calibrated on | seconds | top-1 % |", "|---|---|---:|---:|"]
    for line in lines:
        spread = f" ± {100 * statistics.stdev(line.top1):.1f}" if len(line.top1) > 1 else ""
        mean = 100 * statistics.mean(line.top1)
        rows.append(f"| {line.quantizer} | {line.calibrated_on} | {line.seconds:.1f} | {mean:.1f}{spread} |")
    return "\n".join(rows)


def run(given: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes the file."""
    (arguments,) = ArgumentParser(Arguments, prog="exporters.py", description=__doc__, epilog=_EPILOG).parse(given)
    teacher = load_teacher(arguments.model_name_or_path)
    judge = Judge(arguments.judge, teacher, arguments.judge_images)
    rows = make_runs(arguments, teacher)
    in_float = pytorch_predictor(teacher.model, teacher.image_processor)
    lines = [Line("float32", "", [judge.top1(in_float)], 0.0)]
    total = len(arguments.quantizers) * sum(map(len, rows.values()))
    with tqdm(total=total, desc="Measuring", unit="model", disable=arguments.disable_tqdm) as bar:
        for name in arguments.quantizers:
            try:
                lines += measure(teacher, name, rows, judge, bar)
            except RunError as error:
                logger.error("no figures of this quantizer: %s", error)
            if arguments.output:
                Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)
                with replaced_atomically(Path(arguments.output)) as temporary:
                    temporary.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n")
    print(table(lines))


if __name__ == "__main__":
    sys.exit(answer_errors(run, continues=False))
