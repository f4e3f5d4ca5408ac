"""Several sparse datasets as one."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smi_hf.data.reader import SparseDataset
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import COLUMNS, SOURCE_COLUMN, TRAJECTORY_COLUMNS
from smi_hf.data.validation import describe_grid
from smi_hf.errors import UsageError
from smi_hf.models.references import CheckpointReference

if TYPE_CHECKING:
    from datasets import Dataset

_KEY_COLUMNS = (SOURCE_COLUMN, "seed", "image_index")
_ABSENT = object()


def concatenate(datasets: Sequence[SparseDataset], *, other_teachers: bool = False) -> SparseDataset:
    """The images of several sparse datasets, one dataset after the other.

    The result's `sources` are the records of the parts, and its column `source` says which one a row belongs to. If
    trajectories of a part gave several images, every row says its trajectory and stage. Its `record` has what the
    parts share: a setting that differs is left out, `keep_counts` has only its first and last number unless all agree,
    and `num_images` is the number of images.

    Args:
        datasets: of one grid, with the same labels and normalization, which keep equally many patches of an image;
            parts of one dataset may be among them.
        other_teachers: take datasets of different teachers, too.

    Raises:
        UsageError: there is none, they do not fit each other, an image would be there twice, or one is streamed.
    """
    from datasets import concatenate_datasets

    if not datasets:
        raise UsageError("there is no dataset to concatenate; give at least one")
    for number, dataset in enumerate(datasets[1:], start=2):
        _check_compatible(datasets[0].record, dataset.record, number, other_teachers)
    sources: list[DatasetRecord] = []
    keys, parts = [], []
    for dataset in datasets:
        rows = dataset.random_access("concatenate")
        numbers = np.array([_number_in(sources, record) for record in dataset.sources or (dataset.record,)])
        columns = rows.select_columns([name for name in _KEY_COLUMNS if name in rows.features]).with_format("arrow")[:]
        is_part = SOURCE_COLUMN in columns.column_names
        source = numbers[columns[SOURCE_COLUMN].to_numpy()] if is_part else np.full(len(rows), numbers[0])
        keys.append(np.stack([source, columns["seed"].to_numpy(), columns["image_index"].to_numpy()], axis=1))
        parts.append(rows)
    _check_distinct(np.concatenate(keys))
    has_trajectories = any(name in part.features for part in parts for name in TRAJECTORY_COLUMNS)
    parts = [_with_columns(part, key[:, 0], has_trajectories) for part, key in zip(parts, keys)]
    return SparseDataset(
        concatenate_datasets(parts),
        _united(sources, sum(map(len, parts))),
        tuple(sources),
        name=" + ".join(dataset.name for dataset in datasets),
    )


def _with_columns(rows: "Dataset", source: np.ndarray, has_trajectories: bool) -> "Dataset":
    """Rows with the columns of a concatenated dataset, and no others."""
    names = [*COLUMNS, *(TRAJECTORY_COLUMNS if has_trajectories else ())]
    if has_trajectories and TRAJECTORY_COLUMNS[0] not in rows.features:
        # A trajectory of one image has its number.
        numbers = rows.select_columns(["image_index"]).with_format("arrow")[:]["image_index"].to_numpy()
        for name, values in zip(TRAJECTORY_COLUMNS, (numbers, np.zeros(len(rows), dtype=np.int16))):
            rows = rows.add_column(name, values)
    return rows.select_columns(names).add_column(SOURCE_COLUMN, source.astype(np.int16))


def _check_compatible(first: DatasetRecord, other: DatasetRecord, number: int, other_teachers: bool) -> None:
    if other.grid != first.grid:
        raise UsageError(
            f"dataset {number} has {describe_grid(other.grid)}, but dataset 1 has {describe_grid(first.grid)}; "
            f"concatenate datasets of one grid"
        )
    if other.keep_counts[-1] != first.keep_counts[-1]:
        raise UsageError(
            f"dataset {number} keeps {other.keep_counts[-1]} patches of an image, but dataset 1 keeps "
            f"{first.keep_counts[-1]}, and one batch cannot hold both; concatenate datasets that keep equally many"
        )
    if other.label_names != first.label_names:
        raise UsageError(
            f"dataset {number} has other labels ({len(other.label_names)}, the first is {other.label_names[0]!r}) "
            f"than dataset 1 ({len(first.label_names)}, {first.label_names[0]!r}); concatenate datasets of the same "
            f"labels"
        )
    if other.normalization != first.normalization:
        raise UsageError(
            f"dataset {number} is normalized by mean {other.image_mean} and std {other.image_std}, but dataset 1 by "
            f"{first.image_mean} and {first.image_std}; concatenate datasets of one image processor"
        )
    if not other_teachers and other.teacher.weights_sha256 != first.teacher.weights_sha256:
        raise UsageError(
            f"dataset {number} was inverted from {other.teacher.name!r}, whose weights are not those of "
            f"{first.teacher.name!r}, from which dataset 1 was; say other_teachers=True if this is meant"
        )
    if not other_teachers and other.teacher.head_sha256 != first.teacher.head_sha256:
        raise UsageError(
            f"dataset {number} was made with another embedding head (other prompts or directions) than dataset 1; say "
            f"other_teachers=True if this is meant"
        )


def _number_in(sources: list[DatasetRecord], record: DatasetRecord) -> int:
    """The place of a record among the sources, at the end if none is of the same run: grown or not, it is one run."""
    for number, source in enumerate(sources):
        if not _resized(record, source.num_images).differences(source):
            return number
    sources.append(record)
    return len(sources) - 1


def _resized(record: DatasetRecord, num_images: int) -> DatasetRecord:
    return replace(record, settings=record.settings | {"num_images": num_images})


def _check_distinct(keys: np.ndarray) -> None:
    distinct, counts = np.unique(keys, axis=0, return_counts=True)
    for _, seed, image_index in distinct[counts > 1]:
        raise UsageError(
            f"image {image_index} of seed {seed} would be there twice, from datasets of the same teacher and "
            f"settings; leave one of them out"
        )


def _united(records: Sequence[DatasetRecord], num_images: int) -> DatasetRecord:
    """What records have in common."""
    first = records[0]
    return _resized(
        replace(
            first,
            teacher=_united_teacher([record.teacher for record in records]),
            settings=_shared([record.full_settings for record in records]),
            keep_counts=first.keep_counts
            if all(record.keep_counts == first.keep_counts for record in records)
            else (first.keep_counts[0], first.keep_counts[-1]),
            environment=first.environment
            if all(record.environment == first.environment for record in records)
            else None,
            results={} if len(records) > 1 else first.results,
        ),
        num_images,
    )


def _united_teacher(teachers: Sequence[CheckpointReference]) -> CheckpointReference:
    """All names, and of the rest None where teachers differ."""
    shared = _shared([asdict(teacher) for teacher in teachers])
    names = ", ".join(dict.fromkeys(teacher.name for teacher in teachers))
    kept = {
        field.name: getattr(teachers[0], field.name) for field in fields(CheckpointReference) if field.name in shared
    }
    return CheckpointReference(**{"revision": None, "model_type": None, "weights_sha256": None, **kept, "name": names})


def _shared(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all have with the same value."""
    first, *others = values
    return {name: value for name, value in first.items() if all(other.get(name, _ABSENT) == value for other in others)}
