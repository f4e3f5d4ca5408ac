"""What a notebook shows of a compressed model: facts, and the result table."""

from typing import TYPE_CHECKING

from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.table import main_column, table_cells
from smi_hf.notebook import facts, panel, table

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord


def model_html(record: "ModelRecord") -> str:
    """HTML of a record; a table if the model was judged on real images."""
    parts = [facts(model_words(record))]
    if record.measured is not None and record.rows:
        head = "calibrated on" if record.student is None else "taught on"
        lines = table_cells(record.rows, head, num_labels=record.num_labels)
        parts.append(table(lines, f"judged on {record.measured.num_images} images of {record.measured.dataset}"))
    return panel(f"{record.kind.capitalize()} model", *parts)


def model_words(record: "ModelRecord") -> dict[str, str]:
    """What a model was made from and how, and what it is worth; a line each, by its name. Empty if not known."""
    student, settings, held_out = record.student, record.settings, record.held_out
    steps = [step.kind for step in record.steps]
    return {
        "made from": record.teacher.name,
        "student": f"{student.name or student.model_type}, {student.num_parameters / 1e6:.1f} million parameters"
        if student
        else "",
        "on": ", ".join(f"{each.num_images} images of {each.name}" for each in record.datasets),
        "steps": ", then ".join(steps) if len(steps) > 1 else "",
        "bits": f"W{settings.get('weights')}/A{settings.get('activations')}" if record.kind == "quantized" else "",
        "runs in": record.runtime.words if record.runtime else "",
        main_column(record.rows).words if record.rows else "top-1": _own_score(record),
        "agreement with the teacher": f"{100 * held_out.agreement:.1f} % of {held_out.num_images} synthetic images "
        f"that taught nothing"
        if held_out
        else "",
    }


def _own_score(record: "ModelRecord") -> str:
    if record.measured is None or len(record.rows) < 2:
        return ""
    score = getattr(record.rows[1].runs[0], main_column(record.rows).key)
    low, high = wilson_interval(score, record.measured.num_images)
    return f"{100 * score:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
