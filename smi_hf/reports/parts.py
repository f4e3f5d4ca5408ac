"""What a report is made of: results, and sections of text and charts about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import RECORD_FILE
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord


@dataclass(frozen=True)
class Subject:
    """A result that a report shows.

    Args:
        folder: what lies beside the record is read there.
        record: of a complete dataset, or of a model.
        name: of the folder, never its path.
    """

    folder: Path
    record: DatasetRecord | ModelRecord
    name: str

    @classmethod
    def of(cls, folder: Path) -> "Subject":
        """The result in a folder.

        Raises:
            UsageError: there is none, or it is not complete.
        """
        record = _load_record(folder)
        if isinstance(record, DatasetRecord) and record.status != "complete":
            raise UsageError(f"{folder} is not complete: run the same smi-hf invert command again, then report")
        return cls(folder, record, folder.resolve().name)


def find_subjects(folder: Path) -> list[Subject]:
    """The result in a folder; of a folder of results, such as that of a demonstration, those that are complete.

    Raises:
        UsageError: there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give one that smi-hf invert, quantize, prune or distill wrote")
    if _has_record(folder):
        return [Subject.of(folder)]
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and _has_record(path):
            record = _load_record(path)
            if isinstance(record, ModelRecord) or record.status == "complete":
                found.append(Subject(path, record, path.name))
    if not found:
        raise UsageError(
            f"{folder} holds nothing to report: no {RECORD_FILE} and no {RESULTS_FILE}, neither in it nor in a folder "
            f"of it; give a folder that smi-hf invert, quantize, prune or distill wrote"
        )
    return found


def _has_record(folder: Path) -> bool:
    return (folder / RECORD_FILE).is_file() or (folder / RESULTS_FILE).is_file()


def _load_record(folder: Path) -> DatasetRecord | ModelRecord:
    return (DatasetRecord if (folder / RECORD_FILE).is_file() else ModelRecord).load(folder)


@dataclass(frozen=True)
class Chart:
    """A chart, and what it shows for those who do not see it.

    Args:
        title: says what was found.
        spec: of Vega-Lite, with its values.
        description: what is drawn, in a sentence.
        numbers: the values as a table of text, headings first.
    """

    title: str
    spec: Mapping[str, Any]
    description: str
    numbers: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Args:
        title: its heading.
        template: file that is rendered with `values`, which are text, never HTML.
    """

    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_charts(self) -> bool:
        return bool(self.values.get("charts"))
