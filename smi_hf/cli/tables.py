"""Tables that more than one command shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smi_hf.evaluation.table import SCORES, Scores, mean_score, score_spread

if TYPE_CHECKING:
    from smi_hf.distillation import experiment as distillation
    from smi_hf.quantization.comparison import Row
    from smi_hf.quantization.sensitivity import Sensitivity

_SHOWN_LAYERS = 20
_WIDTH_OF_FILES = 160


def make_console() -> Console:
    """A console that cuts no cell of a table where no terminal limits the width."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def quantization_table(rows: "list[Row]", title: str) -> Table:
    """Each row's accuracy, agreement with float32, size and speed; mean ± standard deviation of several runs."""
    table = Table(title=title, title_justify="left")
    table.add_column("calibrated on", no_wrap=True)
    for heading in ("runs", "top-1 %", "top-5 %", "agreement %", "MB", "ms at 1", "ms at 32", "images/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.name),
            str(len(row.runs)),
            *(percent(row.runs, name) for name in SCORES),
            *(
                "" if value is None else f"{value:.{digits}f}"
                for value, digits in (
                    (row.size_mb, 1),
                    (row.latency_ms_1, 1),
                    (row.latency_ms_32, 0),
                    (row.images_per_second, 0),
                )
            ),
        )
    return table


def distillation_table(rows: "list[distillation.Row]", title: str) -> Table:
    """Scores of the teacher, and of students by what they were taught on."""
    table = Table(title=title, title_justify="left")
    table.add_column("taught on", no_wrap=True)
    for heading in ("images", "runs", "top-1 %", "top-5 %", "agreement %", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"({row.name})" if row.num_images is None else escape(row.name),
            "" if row.num_images is None else str(row.num_images),
            str(len(row.runs)),
            *(percent(row.runs, name) for name in SCORES),
            "" if row.seconds is None else f"{row.seconds:.0f}",
        )
    return table


def percent(runs: Sequence[Scores], name: str) -> str:
    """A score over runs, in percent: mean ± standard deviation of several."""
    spread = score_spread(runs, name)
    return f"{100 * mean_score(runs, name):.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


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
