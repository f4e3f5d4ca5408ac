"""The embedding head of a sparse dataset: what made a classifier of the tower or backbone that was inverted."""

import os
from pathlib import Path

from smi_hf.data.record import DatasetRecord
from smi_hf.data.remote import head_from_hub, record_from_hub
from smi_hf.errors import UsageError
from smi_hf.models.embeddings import HEAD_FILE, EmbeddingHead


def dataset_head(path_or_repo: str | Path, *, revision: str | None = None) -> EmbeddingHead | None:
    """The embedding head that images were made with, for `load_teacher(head=...)`; None if a classifier was inverted.

    Args:
        path_or_repo: a dataset folder, or a dataset repository on the Hub.
        revision: branch, tag or commit on the Hub.

    Raises:
        UsageError: it is not a sparse dataset, or its head is gone or was changed.
    """
    folder = Path(path_or_repo)
    if os.path.isdir(folder):
        record, path = DatasetRecord.load(folder), folder / HEAD_FILE
    else:
        record, commit = record_from_hub(str(path_or_repo), revision)
        path = None if record.teacher.head_sha256 is None else head_from_hub(str(path_or_repo), commit)
    if record.teacher.head_sha256 is None:
        return None
    return checked_head(path, record)


def checked_head(path: Path | None, record: DatasetRecord) -> EmbeddingHead:
    """The head of a file, which must be that of the record.

    Raises:
        UsageError: it is not there, is none, or is another one.
    """
    if path is None or not path.is_file():
        raise UsageError(
            f"the dataset inverted from {record.teacher.name!r} has no {HEAD_FILE}, though its record says that it "
            f"was made with one; make the dataset again"
        )
    head = EmbeddingHead.load(path)
    if head.sha256() != record.teacher.head_sha256:
        raise UsageError(
            f"{path} is not the embedding head that the images were made with; put that one back, or make the "
            f"dataset again"
        )
    return head
