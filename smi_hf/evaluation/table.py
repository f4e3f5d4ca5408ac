"""The one result table: rows of models, and the columns that terminal, record and card show alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from smi_hf.json_record import checked
from smi_hf.notebook import panel, table


@checked
@dataclass(frozen=True)
class Scores:
    """One model, compared with a reference on the same images.

    Args:
        top1, top5: accuracies, in [0, 1]; None where labels mean nothing to people.
        agreement: share of images with the reference's first choice, in [0, 1]; None likewise.
        cosine: mean cosine of embeddings with the reference's, in [-1, 1]; None of a classifier.
        neighbors: share of images whose nearest other image is the same one as by the reference's embeddings, in
            [0, 1]; None of a classifier.
    """

    top1: float | None
    top5: float | None
    agreement: float | None
    cosine: float | None = None
    neighbors: float | None = None


SCORES = ("top1", "top5", "agreement", "cosine", "neighbors")
# Place of the first row that is a control, behind the reference and the model's own.
FIRST_CONTROL = 2
_FEW_LABELS = 10


@checked
@dataclass(frozen=True)
class Row:
    """One line of a result table.

    Args:
        key: what identifies the row: "float32", "teacher", "sparse", or a control as it was written
            ("real=cifar10:test"). Never shown, so two rows may have one label.
        label: what a reader is shown.
        runs: scores of each run, one a seed or dataset; at least one.
        figures: the other figures of the first run, by the key of a column (`COLUMNS`).
    """

    key: str
    label: str
    runs: tuple[Scores, ...]
    figures: dict[str, float] = field(default_factory=dict)

    def value(self, key: str) -> float | None:
        """Mean of a score over runs, or a figure; None if the row has none."""
        if key in SCORES:
            found = [getattr(run, key) for run in self.runs]
            return None if None in found else mean(found)
        return self.figures.get(key)

    def spread(self, key: str) -> float | None:
        """Standard deviation of a score over runs; None for a single one, and for figures."""
        if key not in SCORES or len(self.runs) < 2 or self.value(key) is None:
            return None
        return stdev(getattr(run, key) for run in self.runs)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        columns = shown_columns([self])
        return panel(
            self.label, table([[column.heading for column in columns], [each.cell(self) for each in columns]])
        )


@dataclass(frozen=True)
class Column:
    """A column of a result table.

    Args:
        key: a score, or what `Row.figures` calls it.
        heading: what a reader is shown.
        digits: after the point.
        factor: what values are multiplied by: 100 for shares in percent.
        words: of a score that can be the main one: what it is, in the middle of a sentence.
    """

    key: str
    heading: str
    digits: int
    factor: float = 1.0
    words: str = ""

    def cell(self, row: Row) -> str:
        """A row's value with its spread over runs; empty if it has none."""
        value, spread = row.value(self.key), row.spread(self.key)
        if value is None:
            return ""
        return f"{self.factor * value:.{self.digits}f}" + (
            "" if spread is None else f" ± {self.factor * spread:.{self.digits}f}"
        )


COLUMNS = (
    Column("num_images", "images", 0),
    Column("top1", "top-1 %", 1, 100, words="top-1"),
    Column("top5", "top-5 %", 1, 100),
    Column("agreement", "agreement %", 1, 100),
    Column("neighbors", "neighbors %", 1, 100, words="same nearest neighbor"),
    Column("cosine", "cosine", 4),
    Column("parameters", "M parameters", 1),
    Column("macs", "GMACs", 2),
    Column("size_mb", "MB", 1),
    Column("latency_ms_1", "ms at 1", 1),
    Column("latency_ms_32", "ms at 32", 0),
    Column("images_per_second", "images/s", 0),
    Column("seconds", "seconds", 0),
)


def main_column(rows: Sequence[Row]) -> Column:
    """The score that rows are compared by: accuracy, or of embeddings without labels whose neighbor is the same.

    Args:
        rows: of a table; at least one.
    """
    possible = [column for column in COLUMNS if column.words]
    # The reference may have embeddings that a classifier beside it has not.
    return next((each for each in possible if all(row.value(each.key) is not None for row in rows[:2])), possible[0])


def has_top5(num_labels: int | None) -> bool:
    """Whether top-5 accuracy says anything: of ten labels or fewer, blind choice has at least half of them.

    Args:
        num_labels: None if it is not known.
    """
    return num_labels is None or num_labels > _FEW_LABELS


def shown_columns(rows: Sequence[Row], *, num_labels: int | None = None) -> list[Column]:
    """The columns in which any row has a value, without top-5 where it says nothing."""
    columns = [column for column in COLUMNS if column.key != "top5" or has_top5(num_labels)]
    return [column for column in columns if any(row.value(column.key) is not None for row in rows)]


def table_cells(rows: Sequence[Row], head: str, *, num_labels: int | None = None) -> list[list[str]]:
    """A table as text, its headings first; the label of the reference, which is the first row, stands in brackets.

    Args:
        head: heading of the labels: "calibrated on", "taught on".
        num_labels: that the models tell apart, None if it is not known.
    """
    columns = shown_columns(rows, num_labels=num_labels)
    lines = [[head, "runs", *(column.heading for column in columns)]]
    for number, row in enumerate(rows):
        label = f"({row.label})" if number == 0 else row.label
        lines.append([label, str(len(row.runs)), *(column.cell(row) for column in columns)])
    return lines
