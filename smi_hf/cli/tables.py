"""Tables as the terminal shows them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console

from smi_hf.cli.fitted_table import FittedTable
from smi_hf.evaluation.steps import way_cells
from smi_hf.evaluation.table import COLUMNS, table_cells

if TYPE_CHECKING:
    from smi_hf.demo.run import Inversion
    from smi_hf.evaluation.record import ModelRecord
    from smi_hf.quantization.backend_comparison import BackendComparison
    from smi_hf.quantization.sensitivity import Sensitivity

_SHOWN_LAYERS = 20
_WIDTH_OF_FILES = 160
# Columns of a result table that a narrow terminal does without, the first one first.
_EXPENDABLE = ("images/s", "ms at 32", "seconds", "runs", "images", "GMACs", "top-5 %", "M parameters")


def make_console() -> Console:
    """A console that cuts no cell of a table where no terminal limits the width."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def result_table(record: "ModelRecord", title: str) -> FittedTable:
    """The result table of a record: mean ± standard deviation of several runs."""
    head = "calibrated on" if record.student is None else "taught on"
    headings, *lines = table_cells(record.rows, head, num_labels=record.num_labels)
    return FittedTable(title, headings, lines, expendable=_EXPENDABLE)


def way_table(record: "ModelRecord") -> FittedTable:
    """The way to a model of several steps: what it began as, and what each step left of it."""
    headings, *lines = way_cells(record)
    texts = [number for number, heading in enumerate(headings) if number == 0 or "control" in heading]
    title = "The way to this model, each step by its own table"
    return FittedTable(title, headings, lines, texts=texts, expendable=_EXPENDABLE)


def show_tables(record: "ModelRecord", title: str, console: Console | None = None) -> None:
    """Prints the result table of a record, if it was judged, and the way to its model, if that took several steps."""
    console = console or make_console()
    if record.measured is not None:
        console.print(result_table(record, f"{title}, judged on {record.measured.num_images} images"))
    if record.history:
        console.print(way_table(record))


def inversion_table(inversions: "Mapping[str, Inversion]") -> FittedTable:
    """What inversions cost and gave, the first being what the others are compared with."""
    first = next(iter(inversions.values()))
    settings = first.record.settings
    headings = (
        "inversion",
        "patches kept",
        "teacher's top-1",
        "seconds",
        "times faster",
        "GFLOPs per image",
        "times fewer",
    )
    lines = [
        (
            name,
            f"{each.record.keep_counts[-1]} of {each.record.grid.num_patches}",
            f"{100 * each.record.results['target_top1']:.1f} %",
            f"{each.seconds:.1f}",
            f"{first.seconds / each.seconds:.2f}" if each.seconds else "",
            f"{each.gflops:.1f}",
            f"{first.gflops / each.gflops:.2f}",
        )
        for name, each in inversions.items()
    ]
    return FittedTable(f"{settings['num_images']} images, {settings['num_steps']} steps each", headings, lines)


def comparison_table(comparison: "BackendComparison") -> FittedTable:
    """Back ends side by side, in floating point and in integers; a star at the one that is recommended."""
    judged_on = "images" if comparison.is_real else "synthetic images"
    has_top1 = any(model.top1 is not None for model in comparison.models)
    headings = {column.key: column.heading for column in COLUMNS}
    scores = ("top1", "agreement") if has_top1 else ("agreement",)
    shown = (*scores, "size_mb", "latency_ms_1", "latency_ms_32", "images_per_second")
    lines = []
    for model in comparison.models:
        is_best = model.backend == comparison.recommended and not model.is_float
        lines.append(
            (
                f"{model.backend}, {'float32' if model.is_float else 'integers'}{' *' if is_best else ''}",
                *(f"{100 * getattr(model, score):.1f}" for score in scores),
                f"{model.size_mb:.1f}",
                f"{model.latency_ms_1:.1f}",
                f"{model.latency_ms_32:.0f}",
                f"{model.images_per_second:.0f}",
            )
        )
    return FittedTable(
        f"Measured on this machine, judged on {comparison.num_images} {judged_on}",
        ("back end", *(headings[key] for key in shown)),
        lines,
        expendable=_EXPENDABLE,
        sections={number for number, model in enumerate(comparison.models) if not model.is_float},
    )


def sensitivity_table(report: "Sensitivity", judged_on: str) -> FittedTable:
    """What each operator and the worst layers cost when quantized alone."""
    shown = report.layers[:_SHOWN_LAYERS]
    groups = (report.operators, shown, [report.everything, report.without_excluded])
    lines = [
        (
            f"{cost.name} *" if cost.name in report.exclude else cost.name,
            str(cost.num_layers),
            f"{100 * cost.agreement:.1f}",
            f"{cost.divergence:.5f}",
        )
        for group in groups
        for cost in group
    ]
    return FittedTable(
        f"Quantized alone, judged on {judged_on}",
        ("", "layers", "agreement %", "divergence, nats"),
        lines,
        caption=f"* proposed for exclusion; the worst {len(shown)} of {len(report.layers)} layers are shown",
        sections={len(report.operators) - 1, len(report.operators) + len(shown) - 1},
    )
