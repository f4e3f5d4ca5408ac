"""The record `results.json` beside a compressed model: what it was made from and how, and what it is worth.

Cards and reports read it and invent nothing. It holds names, never a path of the machine that wrote it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smi_hf.data.files import file_sha256
from smi_hf.data.image_sets import ImageSet
from smi_hf.data.json_record import JsonRecord
from smi_hf.data.reader import SparseDataset
from smi_hf.errors import UsageError
from smi_hf.evaluation.scores import SCORES, summary
from smi_hf.models import Teacher

RESULTS_FILE = "results.json"
SCHEMA_VERSION = 1
KINDS = ("quantized", "distilled")
_TEACHER_KEYS = ("name", "revision", "model_type", "weights_sha256", "license")
_STUDENT_KEYS = ("name", "revision", "model_type", "license", "from_scratch", "num_parameters", "sees")
_DATASET_KEYS = ("name", "revision", "content_sha256", "num_images", "num_kept", "is_from_teacher")
_MEASURED_KEYS = ("dataset", "type", "split", "num_images")
_ROW_KEYS = ("name", "runs", *SCORES)


@dataclass(frozen=True)
class ModelRecord(JsonRecord):
    """What a compressed model was made from, how, and what it is worth.

    Args:
        kind: "quantized" or "distilled". A student that was quantized as it learned is "distilled" where it is in
            floating point, and "quantized", with its `student`, where it is in integers.
        teacher: as of `Teacher.reference`; the model that was quantized, or that taught.
        datasets: as of `dataset_reference`, those of further runs behind that of the model.
        settings: every option that decides what the model is.
        environment: as of `describe_environment`.
        student: of a model that was taught: `name` and `revision` of the checkpoint that it started from,
            `model_type`, `license`, `from_scratch` (whether its architecture alone was taken), `num_parameters`, and
            what it `sees`.
        measured: real images that the rows were judged on: `dataset`, `type` (Hub id, or the reader of a local file),
            `split`, `num_images`. None if there were none.
        rows: the table, each row with its scores in every run, their means and spreads. The reference (the model in
            floating point, or the teacher) is first, this model's row second, its own scores the first run there.
        held_out: without real images: `num_images` synthetic ones, and the `agreement` with the teacher on them.
        pictures: names of the pictures beside the record.
        files: sha256 of each file that makes up the model, by name; what is published.
    """

    file_name = RESULTS_FILE
    version = SCHEMA_VERSION
    noun = "model"
    described = "a compressed model of smi_hf"
    made_with = "smi-hf quantize or smi-hf distill"

    kind: str
    teacher: dict[str, Any]
    datasets: list[dict[str, Any]]
    settings: dict[str, Any]
    environment: dict[str, Any]
    student: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    held_out: dict[str, Any] | None = None
    pictures: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def judged(self, rows: Sequence[Any], images: ImageSet, *, pictures: Sequence[str] = ()) -> "ModelRecord":
        """This record with a table.

        Args:
            rows: dataclasses with `name` and `runs` (`Scores`), in the order of the field `rows`.
            images: what they were judged on.
        """
        listed = [{**asdict(row), **summary(row.runs)} for row in rows]
        return replace(self, measured=images.reference(), rows=listed, pictures=list(pictures))

    def with_files(self, paths: Iterable[Path]) -> "ModelRecord":
        """This record with the files that the model is made of."""
        return replace(self, files={path.name: file_sha256(path) for path in sorted(paths)})

    def changed_file(self, folder: Path) -> Path | None:
        """The first of the model's files that is gone or is no longer what it was, None if all are as they were."""
        paths = ((folder / name, digest) for name, digest in self.files.items())
        return next((path for path, digest in paths if not path.is_file() or file_sha256(path) != digest), None)

    @classmethod
    def from_json(cls, text: str, source: str) -> "ModelRecord":
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{source} is not a record of a compressed model: it is not valid JSON ({error})"
            ) from error
        if not isinstance(values, dict) or "schema_version" not in values:
            raise UsageError(
                f"{source} is not a record of a compressed model: it has no schema_version; quantize or distil again "
                f"with this smi_hf, which writes one"
            )
        cls.check_version(values["schema_version"], source)
        try:
            record = cls(**values)
            record._check()
        except (TypeError, ValueError) as error:
            raise UsageError(f"{source} is not a record of a compressed model: {error}") from error
        return record

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"its kind is {self.kind!r}, but {' and '.join(KINDS)} are known")
        if self.kind == "distilled" and self.student is None:
            raise ValueError("its kind is 'distilled', but it has no student")
        if self.rows and (self.measured is None or len(self.rows) < 2):
            raise ValueError("it has rows, but not both what they were judged on and the model's own row")
        _check_keys("teacher", self.teacher, _TEACHER_KEYS)
        _check_keys("settings", self.settings, ("backend",) if self.kind == "quantized" else ("loss",))
        _check_keys("environment", self.environment, ("lane", "device", "packages"))
        for name, keys in (("student", _STUDENT_KEYS), ("measured", _MEASURED_KEYS)):
            if getattr(self, name) is not None:
                _check_keys(name, getattr(self, name), keys)
        if self.held_out is not None:
            _check_keys("held_out", self.held_out, ("num_images", "agreement"))
        for name, each, keys in (("datasets", self.datasets, _DATASET_KEYS), ("rows", self.rows, _ROW_KEYS)):
            if not isinstance(each, list):
                raise TypeError(f"{name} is {type(each).__name__}, but must be a list")
            for number, values in enumerate(each):
                _check_keys(f"{name}[{number}]", values, keys)


def dataset_reference(dataset: SparseDataset, teacher: Teacher) -> dict[str, Any]:
    """What a record says of a sparse dataset that a model was calibrated or taught on.

    Args:
        teacher: the model that was quantized, or that taught.

    Returns:
        `name` and `revision` as of the dataset, `content_sha256` of its shards (None of a concatenated one),
        `num_images` that were used, `num_kept` patches of each (None if they differ), and `is_from_teacher`: whether
        they are images of this very model.
    """
    record = dataset.record
    return {
        "name": dataset.name,
        "revision": dataset.revision,
        "content_sha256": record.results.get("content_sha256"),
        "num_images": len(dataset),
        "num_kept": record.keep_counts[-1] if record.keep_counts else None,
        "is_from_teacher": record.teacher["weights_sha256"] == teacher.weights_sha256(),
    }


def _check_keys(name: str, values: Mapping[str, Any], keys: Sequence[str]) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} is {type(values).__name__}, but must hold {', '.join(keys)}")
    if missing := [key for key in keys if key not in values]:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
