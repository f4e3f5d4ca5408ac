"""Tables as the terminal shows them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smi_hf.evaluation.steps import way_cells
from smi_hf.evaluation.table import COLUMNS, table_cells

if TYPE_CHECKING:
    from smi_hf.demo.run import Inversion
    from smi_hf.evaluation.record import ModelRecord
    from smi_hf.quantization.backend_comparison import BackendComparison
    from smi_hf.quantization.sensitivity import Sensitivity

_SHOWN_LAYERS = 20
_WIDTH_OF_FILES = 160


def make_console() -> Console:
    """A console that cuts no cell of a table where no terminal limits the width."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def result_table(record: "ModelRecord", title: str) -> Table:
    """The result table of a record: mean ± standard deviation of several runs."""
    head = "calibrated on" if record.student is None else "taught on"
    headings, *lines = table_cells(record.rows, head, num_labels=record.num_labels)
    table = Table(title=escape(title), title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def way_table(record: "ModelRecord") -> Table:
    """The way to a model of several steps: what it began as, and what each step left of it."""
    headings, *lines = way_cells(record)
    table = Table(title="The way to this model, each step by its own table", title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(escape(heading), justify="right" if number else "left")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def show_tables(record: "ModelRecord", title: str, console: Console | None = None) -> None:
    """Prints the result table of a record, if it was judged, and the way to its model, if that took several steps."""
    console = console or make_console()
    if record.measured is not None:
        console.print(result_table(record, f"{title}, judged on {record.measured.num_images} images"))
    if record.history:
        console.print(way_table(record))


def inversion_table(inversions: "Mapping[str, Inversion]") -> Table:
    """What inversions cost and gave, the first being what the others are compared with."""
    first = next(iter(inversions.values()))
    settings = first.record.settings
    table = Table(title=f"{settings['num_images']} images, {settings['num_steps']} steps each", title_justify="left")
    table.add_column("inversion")
    for heading in ("patches kept", "teacher's top-1", "seconds", "times faster", "GFLOPs per image", "times fewer"):
        table.add_column(heading, justify="right")
    for name, each in inversions.items():
        table.add_row(
            name,
            f"{each.record.keep_counts[-1]} of {each.record.grid.num_patches}",
            f"{100 * each.record.results['target_top1']:.1f} %",
            f"{each.seconds:.1f}",
            f"{first.seconds / each.seconds:.2f}" if each.seconds else "",
            f"{each.gflops:.1f}",
            f"{first.gflops / each.gflops:.2f}",
        )
    return table


def comparison_table(comparison: "BackendComparison") -> Table:
    """Back ends side by side, in floating point and in integers; a star at the one that is recommended."""
    judged_on = "images" if comparison.is_real else "synthetic images"
    title = f"Measured on this machine, judged on {comparison.num_images} {judged_on}"
    table = Table(title=title, title_justify="left")
    table.add_column("back end", no_wrap=True)
    has_top1 = any(model.top1 is not None for model in comparison.models)
    headings = {column.key: column.heading for column in COLUMNS}
    scores = ("top1", "agreement") if has_top1 else ("agreement",)
    for key in (*scores, "size_mb", "latency_ms_1", "latency_ms_32", "images_per_second"):
        table.add_column(headings[key], justify="right", no_wrap=True)
    for model in comparison.models:
        is_best = model.backend == comparison.recommended and not model.is_float
        table.add_row(
            f"{model.backend}, {'float32' if model.is_float else 'integers'}{' *' if is_best else ''}",
            *(f"{100 * getattr(model, score):.1f}" for score in scores),
            f"{model.size_mb:.1f}",
            f"{model.latency_ms_1:.1f}",
            f"{model.latency_ms_32:.0f}",
            f"{model.images_per_second:.0f}",
            end_section=not model.is_float,
        )
    return table


def sensitivity_table(report: "Sensitivity", judged_on: str) -> Table:
    """What each operator and the worst layers cost when quantized alone."""
    table = Table(title=f"Quantized alone, judged on {judged_on}", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("layers", "agreement %", "divergence, nats"):
        table.add_column(heading, justify="right")
    shown = report.layers[:_SHOWN_LAYERS]
    for group in (report.operators, shown, [report.everything, report.without_excluded]):
        for cost in group:
            name = f"{cost.name} *" if cost.name in report.exclude else cost.name
            table.add_row(escape(name), str(cost.num_layers), f"{100 * cost.agreement:.1f}", f"{cost.divergence:.5f}")
        table.add_section()
    table.caption = f"* proposed for exclusion; the worst {len(shown)} of {len(report.layers)} layers are shown"
    return table
