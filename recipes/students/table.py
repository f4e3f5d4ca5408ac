"""Students of several kinds and ways side by side, from the records that `smi-hf distill` left beside them.

    python recipes/students/table.py --students out/vit out/vit-tiled out/resnet out/resnet-tiled

Each cell is top-1 in percent and seconds of training.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.main import answer_errors
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import ModelRecord


@dataclass
class Arguments:
    """Whose records."""

    students: list[str] = field(metadata={"help": "Folders that smi-hf distill wrote with --eval_dataset."})


def make_table(records: Sequence[ModelRecord]) -> list[list[str]]:
    """Headings, and a line for each student: its name, parameters in millions, and a cell for each way.

    Raises:
        UsageError: a record is not of a student that real images judged.
    """
    students: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        if record.student is None or len(record.rows) < 2:
            raise UsageError("a record is not of a student with a table; make it with smi-hf distill --eval_dataset")
        _, own, *controls = record.rows
        cells = students.setdefault((_name(record), f"{record.student.num_parameters / 1e6:.2f}"), {})
        for way, row in [(record.student.sees, own), *((row.label, row) for row in controls)]:
            top1 = sum(run.top1 for run in row.runs) / len(row.runs)
            cells[way] = f"{100 * top1:.1f} ({row.figures['seconds']:.0f} s)"
    ways = list(dict.fromkeys(way for cells in students.values() for way in cells))
    lines = [[*student, *(cells.get(way, "") for way in ways)] for student, cells in students.items()]
    return [["student", "M parameters", *ways], *lines]


def _name(record: ModelRecord) -> str:
    layers = record.settings.get("student_layers")
    began = f"layers {', '.join(map(str, layers))} of the teacher" if layers else record.student.name
    return f"{began}, from scratch" if record.student.from_scratch else began


def run(arguments: Sequence[str] | None = None) -> None:
    """Prints the table as Markdown."""
    (given,) = ArgumentParser(Arguments, prog="table.py", description=__doc__).parse(arguments)
    headings, *lines = make_table([ModelRecord.load(Path(folder)) for folder in given.students])
    for line in (headings, ["---"] * len(headings), *lines):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    sys.exit(answer_errors(run))
