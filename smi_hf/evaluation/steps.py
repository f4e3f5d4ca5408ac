"""The way to a model as a table: what it began as, then a line for each step.

A record that lies beside somebody's checkpoint may say anything of its settings, so nothing here relies on them.
"""

from smi_hf.evaluation.record import ModelRecord, Step
from smi_hf.evaluation.table import COLUMNS, FIRST_CONTROL, Column, Row, main_column

_SHOWN = ("top1", "neighbors", "parameters", "macs", "size_mb", "latency_ms_1")
_COLUMNS = {column.key: column for column in COLUMNS if column.key in _SHOWN}
_LARGEST = 1e15


def step_words(step: Step) -> str:
    """What a step did, in a few words: "pruned: 50 % of each MLP, 11 of 12 layers"."""
    settings = step.settings
    if step.kind == "pruned":
        left = []
        if _is_number(keep := settings.get("keep_mlp")) and keep < 1:
            left.append(f"{100 * keep:g} % of each MLP")
        layers, before = settings.get("layers"), settings.get("layers_before")
        if isinstance(layers, list) and _is_number(before) and len(layers) < before:
            left.append(f"{len(layers)} of {before:g} layers")
        return ": ".join(["pruned", *([", ".join(left)] if left else [])])
    taught = f"taught by {step.teacher.name} on {step.datasets[0].num_images} images"
    if step.kind == "distilled":
        return taught
    runtime = step.runtime.words if step.runtime else settings["backend"]
    quantized = f"quantized: W{settings.get('weights')}/A{settings.get('activations')}, {runtime}"
    return quantized if step.student is None else f"{taught}, {quantized}"


def way_cells(record: ModelRecord) -> list[list[str]]:
    """The way to a model as text, headings first, then what it began as, in brackets, then a line for each step.

    Accuracies are means over runs, ± their standard deviation. Of the controls of a step the best is shown.
    """
    first = record.steps[0]
    # A student's table begins with its teacher, which need not be what the student was.
    began = f"{first.teacher.name}, the teacher" if first.student else first.teacher.name
    lines = [[f"({began})", *_cells(_row(first, 0), _known(first, "parameters_before")), ""]]
    for step in record.steps:
        own = _cells(_row(step, 1), _known(step, "parameters"))
        lines.append([step_words(step), *own, _best_control(step)])
    last = main_column(record.rows) if record.rows else _COLUMNS["top1"]
    head = ["step", *(column.heading for column in _COLUMNS.values()), f"{last.heading} of the best control"]
    shown = [place for place in range(len(head)) if place == 0 or any(line[place] for line in lines)]
    return [[line[place] for place in shown] for line in (head, *lines)]


def _row(step: Step, number: int) -> Row | None:
    return step.rows[number] if step.rows else None


def _known(step: Step, parameters: str) -> dict[str, float]:
    """Figures that a step tells without a table."""
    count = step.settings.get(parameters)
    if step.student is not None and parameters == "parameters":
        count = step.student.num_parameters
    return {"parameters": count / 1e6} if _is_number(count) else {}


def _cells(row: Row | None, known: dict[str, float]) -> list[str]:
    """A line's figures: those of its row, else what is known without one."""
    return [(row and column.cell(row)) or _plain_cell(column, known.get(key)) for key, column in _COLUMNS.items()]


def _plain_cell(column: Column, value: float | None) -> str:
    return "" if value is None else f"{column.factor * value:.{column.digits}f}"


def _best_control(step: Step) -> str:
    controls = step.rows[FIRST_CONTROL:]
    if not controls:
        return ""
    main = main_column(step.rows)
    best = max(controls, key=lambda row: row.value(main.key))
    return f"{main.cell(best)} ({best.label})"


def _is_number(value: object) -> bool:
    # A whole number of JSON may be too large for arithmetic.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
