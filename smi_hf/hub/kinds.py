"""What can be published: datasets, models and Spaces, each with its record, and the files that the record lists."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, RepoCard

from smi_hf.data.heads import checked_head
from smi_hf.data.merging import list_shards, shard_path, shard_range
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import DATA_FOLDER, RECORD_FILE
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.hub.cards.dataset import render_card, shown_pictures
from smi_hf.hub.cards.model import render_model_card
from smi_hf.hub.contents import check_inside, read_file, sha256_of
from smi_hf.hub.spaces.pages import render_app, render_requirements, render_space_card
from smi_hf.hub.spaces.record import APP_FILE, REQUIREMENTS_FILE, SpaceRecord
from smi_hf.json_record import JsonRecord
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.nearby import nearest_path

logger = logging.getLogger(__name__)

Files = dict[str, CommitOperationAdd]


@dataclass(frozen=True)
class Kind:
    """What can be published.

    Args:
        repo_type: "dataset", "model" or "space".
        name: in words.
        message: of the commit.
        record: class of the record, whose file everything of this kind has.
        collect: from a folder to its record, as it is published, and the files that the record lists, by their path
            in the repository; raises UsageError if they are not what the run wrote. A Space has no folder.
        lists: whether a record lists the file of this path in its repository.
        render: from the record and the repository's id to the card.
    """

    repo_type: str
    name: str
    message: str
    record: type[JsonRecord]
    collect: Callable[[Path], tuple[Any, Files]] | None
    lists: Callable[[Any, str], bool]
    render: Callable[..., RepoCard]


def kind_of(folder: Path) -> Kind:
    """What a folder holds.

    Raises:
        UsageError: nothing that can be published.
    """
    for kind in (DATASET, MODEL):
        if (folder / kind.record.file_name).is_file():
            return kind
    if not folder.exists():
        raise UsageError(f"there is no folder {str(folder)!r}{nearest_path(folder)}")
    raise UsageError(f"{folder} holds nothing to push; give a folder that smi-hf invert, quantize or distill wrote")


def _collect_dataset(folder: Path) -> tuple[DatasetRecord, Files]:
    check_inside(folder, RECORD_FILE)
    record = DatasetRecord.load(folder)
    if record.status != "complete":
        raise UsageError(f"{folder} is not complete: run the same smi-hf invert command again, then push")
    files = _read_shards(folder, record)
    pictures, digests = shown_pictures(record), _picture_digests(record)
    listed = [name for name in pictures if name in digests]
    if len(listed) < len(pictures):
        _log_left_out(folder / RECORD_FILE, set(pictures) - set(listed))
        record = replace(record, results=record.results | {"pictures": listed})
    files |= _read_as_recorded(folder, {name: digests[name] for name in listed}, record)
    if record.teacher.head_sha256 is not None:
        check_inside(folder, HEAD_FILE)
        checked_head(folder / HEAD_FILE, record)
        files[HEAD_FILE] = read_file(folder, HEAD_FILE)
    return record, files


def _read_shards(folder: Path, record: DatasetRecord) -> Files:
    if (folder / DATA_FOLDER).is_symlink() or not (folder / DATA_FOLDER).is_dir():
        raise UsageError(f"{folder / DATA_FOLDER} is no folder with shards; make the dataset again")
    names = [f"{DATA_FOLDER}/{path.name}" for path in list_shards(folder)]
    files = {name: read_file(folder, name) for name in names}
    # As `SparseDatasetWriter.content_sha256`.
    digest = hashlib.sha256(b"".join(file.upload_info.sha256 for file in files.values())).hexdigest()
    if digest != record.results.get("content_sha256"):
        raise UsageError(
            f"the shards in {folder / DATA_FOLDER} are not those that {RECORD_FILE} was written for: some were added, "
            f"removed or changed since; put them back, or make the dataset again"
        )
    return files


def _dataset_lists(record: DatasetRecord, path: str) -> bool:
    is_head = path == HEAD_FILE and record.teacher.head_sha256 is not None
    return is_head or path in shown_pictures(record) or _is_shard_of(record, path)


def _is_shard_of(record: DatasetRecord, path: str) -> bool:
    """Whether a path is exactly that of a shard with images of this dataset."""
    try:
        first, last = shard_range(Path(path))
    except (AttributeError, ValueError):
        return False
    count = record.settings.get("num_images")
    return path == shard_path(Path(), first, last).as_posix() and isinstance(count, int) and first <= last < count


def _picture_digests(record: DatasetRecord) -> Mapping[str, str]:
    digests = record.results.get("picture_sha256")
    return digests if isinstance(digests, dict) else {}


def _collect_model(folder: Path) -> tuple[ModelRecord, Files]:
    check_inside(folder, RESULTS_FILE)
    record = ModelRecord.load(folder)
    if not record.files:
        raise UsageError(f"{folder / RESULTS_FILE} does not say which files the model is made of; make it once more")
    if unlisted := set(record.pictures) - record.files.keys():
        _log_left_out(folder / RESULTS_FILE, unlisted)
        record = replace(record, pictures=tuple(name for name in record.pictures if name not in unlisted))
    return record, _read_as_recorded(folder, record.files, record)


def _model_lists(record: ModelRecord, path: str) -> bool:
    # Records of version 1 do not have their pictures among the files.
    return path in record.files or path in record.pictures


def space_files(record: SpaceRecord) -> Files:
    """The files of a Space beside its card and record."""
    texts = {APP_FILE: render_app(record), REQUIREMENTS_FILE: render_requirements(record)}
    return {name: CommitOperationAdd(name, text.encode()) for name, text in texts.items()}


def _space_lists(record: SpaceRecord, path: str) -> bool:
    return path in (APP_FILE, REQUIREMENTS_FILE)


def _read_as_recorded(folder: Path, digests: Mapping[str, str], record: JsonRecord) -> Files:
    """The files of these names.

    Raises:
        UsageError: one is gone, is a link, or is not what it was when the record was written.
    """
    files = {}
    for name, digest in digests.items():
        check_inside(folder, name)
        is_there = (folder / name).is_file()
        if is_there:
            files[name] = read_file(folder, name)
        if not is_there or sha256_of(files[name]) != digest:
            reason = "was changed since" if is_there else "is gone"
            raise UsageError(
                f"{folder / name} {reason}, and {record.file_name} is the record of the {record.noun} as it was; make "
                f"it once more"
            )
    return files


def _log_left_out(record_file: Path, names: set[str]) -> None:
    logger.warning("not published, as %s has no digest of it: %s", record_file.name, ", ".join(sorted(names)))


DATASET = Kind(
    repo_type="dataset",
    name="sparse dataset",
    message="Sparse synthetic images",
    record=DatasetRecord,
    collect=_collect_dataset,
    lists=_dataset_lists,
    render=render_card,
)
MODEL = Kind(
    repo_type="model",
    name="model of smi_hf",
    message="Model compressed without data",
    record=ModelRecord,
    collect=_collect_model,
    lists=_model_lists,
    render=render_model_card,
)
SPACE = Kind(
    repo_type="space",
    name="Space of smi_hf",
    message="A page that shows what smi_hf made",
    record=SpaceRecord,
    collect=None,
    lists=_space_lists,
    render=render_space_card,
)
