"""The picture of what was made from what: checkpoints, images and models, and the steps between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord, Step
from smi_hf.evaluation.steps import step_words, way_cells
from smi_hf.evaluation.table import Row, main_column
from smi_hf.reports.parts import Section, Subject
from smi_hf.starts.base import start_label


@dataclass(frozen=True)
class Node:
    """A box of the picture, and the arrow that leads to it.

    Args:
        kind: "checkpoint", "images" or "model".
        name: what stands in it, first line.
        facts: further lines.
        step: what the arrow says; empty of the first box.
        inputs: what else went into the step.
    """

    kind: str
    name: str
    facts: Sequence[str] = ()
    step: str = ""
    inputs: Sequence[str] = ()


def section(subject: Subject) -> Section:
    """How a result came to be."""
    record = subject.record
    if isinstance(record, DatasetRecord):
        nodes, way = of_dataset(subject, record), []
    else:
        nodes, way = of_model(subject, record), way_cells(record) if record.history else []
    return Section("What was made from what", "chain.html.jinja", {"nodes": nodes, "way": way})


def of_dataset(subject: Subject, record: DatasetRecord) -> list[Node]:
    """A teacher, and the images that were made of it."""
    settings = record.full_settings
    began = start_label(settings["start"]) if isinstance(settings.get("start"), str) else "several starts"
    num_steps = settings["num_steps"]
    step = f"inverted: {num_steps} steps from {began}" if num_steps else f"no steps: {began}"
    kept = f"{record.keep_counts[-1]} of {record.keep_counts[0]} patches each"
    return [
        Node("checkpoint", record.teacher.name, [f"{len(record.label_names)} labels", "the teacher"]),
        Node("images", subject.name, [f"{record.num_images} images", kept], step),
    ]


def of_model(subject: Subject, record: ModelRecord) -> list[Node]:
    """What a model began as, and what each step left of it."""
    first = record.steps[0]
    nodes = [Node("checkpoint", first.source.name or "a model without a name", _began(first))]
    for number, step in enumerate(record.steps, start=1):
        is_last = number == len(record.steps)
        following = None if is_last else record.steps[number].source.name
        name = subject.name if is_last else following or f"the result of step {number}"
        nodes.append(Node("model", name, _facts(step), step_words(step), _inputs(step)))
    return nodes


def _began(step: Step) -> list[str]:
    if step.is_from_scratch:
        return ["its architecture alone"]
    row = step.rows[0] if step.rows and step.student is None else None
    # That its own neighbors are its own says nothing.
    return [_score(step, row)] if row and main_column(step.rows).key == "top1" else []


def _facts(step: Step) -> list[str]:
    row = step.rows[1] if step.rows else None
    facts = [_score(step, row)] if row else []
    for key, unit in (("parameters", "M parameters"), ("size_mb", "MB"), ("latency_ms_1", "ms for one image")):
        if row is not None and row.value(key) is not None:
            facts.append(f"{row.value(key):.3g} {unit}")
    if row is None and step.held_out is not None:
        facts.append(f"agrees with its teacher in {100 * step.held_out.agreement:.1f} %")
    return facts


def _score(step: Step, row: Row) -> str:
    main = main_column(step.rows)
    return f"{main.words} {main.factor * row.value(main.key):.1f} %"


def _inputs(step: Step) -> list[str]:
    inputs = [f"{each.name}: {each.num_images} images" for each in step.datasets]
    return inputs if step.student is None else [f"{step.teacher.name}: the teacher", *inputs]
