"""The record `results.json` beside a compressed model: what it was made from and how, and what it is worth.

Cards and reports read it and invent nothing. It holds names, never a path of the machine that wrote it.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from smi_hf.data.reader import SparseDataset
from smi_hf.data.report_file import REPORT_FILE
from smi_hf.data.schema import CARD_FILE
from smi_hf.data.validation import made_from
from smi_hf.environment import Environment
from smi_hf.evaluation.display import model_html
from smi_hf.evaluation.table import COLUMNS, SCORES, Row
from smi_hf.files import file_sha256
from smi_hf.images.real import ImageSet, ImageSetReference
from smi_hf.json_record import JsonRecord, checked
from smi_hf.models import CheckpointReference, License, Teacher
from smi_hf.models.references import HeadReference

RESULTS_FILE = "results.json"
SCHEMA_VERSION = 3
# Names that no file of a model may have: the card, the record, the report, and what belongs to the Hub.
_RESERVED = (CARD_FILE, RESULTS_FILE, REPORT_FILE, ".gitattributes", ".gitignore")


@checked
@dataclass(frozen=True)
class DatasetReference:
    """A sparse dataset that a model was calibrated or taught on, as a record names it.

    Args:
        name, revision: as of the dataset.
        content_sha256: of its shards, None of a concatenated one.
        num_images: that were used.
        num_kept: patches of each.
        is_from_teacher: whether they are images of this very model.
    """

    name: str
    revision: str | None
    content_sha256: str | None
    num_images: int
    num_kept: int | None
    is_from_teacher: bool

    @classmethod
    def of(cls, dataset: SparseDataset, teacher: Teacher) -> "DatasetReference":
        """What a record says of a dataset.

        Args:
            teacher: the model that was quantized or pruned, or that taught.
        """
        record = dataset.record
        return cls(
            name=dataset.name,
            revision=dataset.revision,
            content_sha256=record.results.get("content_sha256"),
            num_images=len(dataset),
            num_kept=record.keep_counts[-1],
            is_from_teacher=made_from(record, teacher),
        )


@checked
@dataclass(frozen=True)
class StudentReference:
    """Where a student came from and what it is, as a record names it.

    Args:
        name, revision: checkpoint that it started from; None of a model that came from none.
        model_type: of its configuration.
        license: of that checkpoint, None if it is unknown.
        from_scratch: whether its architecture alone was taken from there.
        num_parameters: of the student.
        sees: what it is shown of a sparse image, in words.
        head: what makes a classifier of an image tower or a backbone; None of a classifier.
    """

    name: str | None
    revision: str | None
    model_type: str
    license: License | None
    from_scratch: bool
    num_parameters: int
    sees: str
    head: HeadReference | None = None


@checked
@dataclass(frozen=True)
class Runtime:
    """What runs a quantized model, as its back end says and its card repeats.

    Args:
        words: for people.
        library: the Hub's `library_name`.
        tags: how such models are found on the Hub.
    """

    words: str
    library: str
    tags: tuple[str, ...] = ()


# The back ends of the time when records did not say what runs a model; later ones say it themselves.
_RUNTIMES_OF_VERSION_1 = {
    "onnx": Runtime("ONNX Runtime", "optimum", ("onnx", "onnxruntime")),
    "openvino": Runtime("OpenVINO", "optimum", ("openvino", "nncf")),
    "quanto": Runtime("quanto", "optimum-quanto", ("quanto",)),
    "simulated": Runtime("simulated", "smi_hf", ("simulated-quantization",)),
}


@checked
@dataclass(frozen=True)
class HeldOut:
    """Without real images: agreement with the teacher, in [0, 1], on synthetic ones that taught nothing."""

    num_images: int
    agreement: float


@checked
@dataclass(frozen=True)
class Step:
    """One step on the way to a model: what went in, how, and what came out was worth.

    Args:
        kind: "quantized", "distilled" or "pruned". A student that was quantized as it learned is "distilled" where it
            is in floating point, and "quantized", with its `student`, where it is in integers.
        teacher: the model that was quantized or pruned, or that taught.
        datasets: those of further runs behind that of the model.
        settings: every option that decides what the model is.
        environment: of the machine that made it.
        student: of a model that was taught.
        runtime: of a quantized model.
        num_labels: that the model tells apart, None if it is not known.
        measured: real images that the rows were judged on, None if there were none.
        rows: the table. The reference (the model in floating point, or the teacher) is first, this model's row
            second, its own scores the first run there.
        held_out: of a student that no real image judged.
    """

    kind: Literal["quantized", "distilled", "pruned"]
    teacher: CheckpointReference
    datasets: tuple[DatasetReference, ...]
    settings: dict[str, Any]
    environment: Environment
    student: StudentReference | None = None
    runtime: Runtime | None = None
    num_labels: int | None = None
    measured: ImageSetReference | None = None
    rows: tuple[Row, ...] = ()
    held_out: HeldOut | None = None

    @property
    def source(self) -> CheckpointReference | StudentReference:
        """What the step began with: the model that was quantized or pruned, or the start of the student."""
        return self.student or self.teacher

    @property
    def head(self) -> HeadReference | None:
        """What makes a classifier of what the step made; None of a classifier."""
        return self.source.head

    @property
    def is_from_scratch(self) -> bool:
        """Whether the step took an architecture from its source, and no weights."""
        return self.student is not None and self.student.from_scratch

    def check(self) -> None:
        """Checks what types cannot say; raises ValueError."""
        if self.kind == "distilled" and self.student is None:
            raise ValueError("its kind is 'distilled', but it has no student")
        wanted = {"quantized": "backend", "distilled": "loss", "pruned": "compensation"}[self.kind]
        if not isinstance(self.settings.get(wanted), str):
            raise ValueError(f"settings lacks {wanted}")
        if not self.datasets:
            raise ValueError("it names no dataset")
        if self.rows and (self.measured is None or len(self.rows) < 2):
            raise ValueError("it has rows, but not both what they were judged on and the model's own row")
        if any(not row.runs for row in self.rows):
            raise ValueError("one of its rows has no run")


@checked
@dataclass(frozen=True)
class ModelRecord(Step, JsonRecord):
    """What a compressed model was made from, how, and what it is worth: its last step, and what lies beside it.

    Args:
        curves: (epoch, top-1 in [0, 1]) during the training of the first run of a row, by the row's key.
        pictures: names of the pictures beside the record that its card shows; they are among `files`.
        files: sha256 of each file that is published with the record, by its plain name.
        history: the steps before the last, first step first, of a model that was made from one of smi_hf.
    """

    file_name = RESULTS_FILE
    version = SCHEMA_VERSION
    noun = "model"
    described = "a compressed model of smi_hf"
    made_with = "smi-hf quantize, smi-hf prune or smi-hf distill"

    curves: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    history: tuple[Step, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def steps(self) -> tuple[Step, ...]:
        """The whole way to the model, the record itself as the last step."""
        return (*self.history, self)

    def continued(self) -> tuple[Step, ...]:
        """The history of a model that is made from this one."""
        return (*self.history, Step(**{each.name: getattr(self, each.name) for each in fields(Step)}))

    def judged(
        self,
        rows: Sequence[Row],
        images: ImageSet,
        *,
        curves: Mapping[str, tuple[tuple[float, float], ...]] | None = None,
        pictures: Sequence[str] = (),
    ) -> "ModelRecord":
        """This record with a table, in the order of the field `rows`.

        Args:
            images: what the rows were judged on.
            curves, pictures: as the fields.
        """
        return replace(
            self,
            measured=images.reference(),
            rows=tuple(rows),
            curves=dict(curves or {}),
            pictures=tuple(pictures),
        )

    def with_files(self, paths: Iterable[Path]) -> "ModelRecord":
        """This record with the files that the model is made of."""
        return replace(self, files={path.name: file_sha256(path) for path in sorted(paths)})

    def changed_file(self, folder: Path) -> Path | None:
        """The first of the model's files that is gone or is no longer what it was, None if all are as they were."""
        paths = ((folder / name, digest) for name, digest in self.files.items())
        return next((path for path, digest in paths if not path.is_file() or file_sha256(path) != digest), None)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return model_html(self)

    def check(self) -> None:
        super().check()
        for number, step in enumerate(self.history):
            try:
                step.check()
            except ValueError as error:
                raise ValueError(f"history.{number}: {error}") from error
        taken = {_on_any_system(name) for name in _RESERVED}
        for name in dict.fromkeys((*self.files, *self.pictures)):
            if not _is_plain(name):
                raise ValueError(f"it names the file {name!r}, which is no plain name of a file beside it")
            if _on_any_system(name) in taken:
                raise ValueError(f"it names the file {name!r}, which another file of the folder has as its name")
            taken.add(_on_any_system(name))

    @classmethod
    def upgraded(cls, values: dict[str, Any], version: int) -> dict[str, Any]:
        """Version 1 named rows by their labels, kept curves in them, and had no runtime."""
        if version > 1:
            return values
        runtime = _RUNTIMES_OF_VERSION_1.get(values["settings"].get("backend"))
        if values["kind"] == "quantized" and runtime is not None:
            values["runtime"] = asdict(runtime)
        curves = {}
        for row in values.get("rows", ()):
            name = row.pop("name")
            curve = row.pop("curve", None)
            if curve:
                curves[name] = curve
            figures = {column.key: row.pop(column.key, None) for column in COLUMNS if column.key not in SCORES}
            runs = row.pop("runs")
            row.clear()
            row |= {
                "key": name,
                "label": name,
                "runs": runs,
                "figures": {key: value for key, value in figures.items() if value is not None},
            }
        return values | {"curves": curves}


def _is_plain(name: str) -> bool:
    """Whether a name stays inside its folder on every system, and can be shown as it is."""
    return (
        name not in ("", "..")
        and name == PurePosixPath(name).name == PureWindowsPath(name).name
        and ":" not in name
        and name[-1] not in " ."
        and name.isprintable()
    )


def _on_any_system(name: str) -> str:
    """Equal for names that some file systems take for the same file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
