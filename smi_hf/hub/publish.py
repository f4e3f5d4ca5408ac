"""Publishing what a run made: exactly its files, with a card for the repository, in one commit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import RepoCard

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE, DATA_FOLDER, PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.hub.cards.dataset import render_card
from smi_hf.hub.cards.model import render_model_card
from smi_hf.hub.repository import Repository, check_name, open_repository
from smi_hf.json_record import JsonRecord


@dataclass(frozen=True)
class Kind:
    """What can be published.

    Args:
        repo_type: "dataset" or "model".
        name: in words.
        stale: patterns of files in a repository that a push replaces as a whole.
        collect: from a folder to its record and the files that are published beside record and card, by their path
            in the repository; looks at all of them, and raises UsageError if they are not what the run wrote.
        render: from the record and the repository's id to the card.
        message: of the commit.
        record: class of the record, whose file everything of this kind has.
    """

    repo_type: str
    name: str
    stale: tuple[str, ...]
    collect: Callable[[Path], tuple[Any, dict[str, Path]]]
    render: Callable[..., RepoCard]
    message: str
    record: type[JsonRecord]


def _collect_dataset(folder: Path) -> tuple[DatasetRecord, dict[str, Path]]:
    """Shards and pictures; nothing else that lies in the folder."""
    record = DatasetRecord.load(folder)
    if record.status != "complete":
        raise UsageError(f"{folder} is not complete: run the same smi-hf invert command again, then push")
    writer = SparseDatasetWriter(folder, record)
    if writer.content_sha256() != record.results["content_sha256"]:
        raise UsageError(
            f"the shards in {folder / DATA_FOLDER} are not those that {RECORD_FILE} was written for: some were added, "
            f"removed or changed since; put them back, or make the dataset again"
        )
    pictures = {name: folder / name for name in (PREVIEW_FILE, STAGES_FILE) if (folder / name).is_file()}
    return record, pictures | {f"{DATA_FOLDER}/{path.name}": path for path in writer.shards()}


DATASET = Kind(
    repo_type="dataset",
    name="sparse dataset",
    stale=(f"{DATA_FOLDER}/*.parquet", PREVIEW_FILE, STAGES_FILE),
    collect=_collect_dataset,
    render=render_card,
    message="Sparse synthetic images",
    record=DatasetRecord,
)


def _collect_model(folder: Path) -> tuple[ModelRecord, dict[str, Path]]:
    """The files that the record names, and pictures."""
    record = ModelRecord.load(folder)
    if not record.files:
        raise UsageError(f"{folder / RESULTS_FILE} does not say which files the model is made of; make it once more")
    if path := record.changed_file(folder):
        reason = "was changed since" if path.is_file() else "is gone"
        raise UsageError(
            f"{path} {reason}, and {RESULTS_FILE} is the record of the model as it was; make it once more"
        )
    return record, {name: folder / name for name in (*record.files, *record.pictures)}


MODEL = Kind(
    repo_type="model",
    name="model of smi_hf",
    # Weights of the model before, under other names.
    stale=("*.safetensors", "*.index.json", "*.onnx", "*.onnx_data", "openvino_model.*", "*.png"),
    collect=_collect_model,
    render=render_model_card,
    message="Model compressed without data",
    record=ModelRecord,
)
KINDS = (DATASET, MODEL)


def open_for(kind: Kind, repo_id: str, **options: Any) -> Repository:
    """Finds or makes the repository that a folder will be pushed to, and checks all that can be checked before.

    Args:
        kind: what will be pushed.
        repo_id, **options: as for `open_repository`.

    Raises:
        UsageError: the push would be refused, or replace what smi_hf did not make.
        RunError: the Hub could not be reached, or kept failing.
    """
    repository = open_repository(repo_id, repo_type=kind.repo_type, **options)
    repository.check_is_ours(kind.record.file_name, kind.name)
    return repository


def push_to(repository: Repository, folder: str | Path, kind: Kind, *, message: str | None = None) -> str:
    """Publishes a folder in a repository that `open_for` opened; returns the address of the commit or pull request.

    Args:
        message: of the commit; that of the kind if None.

    Raises:
        UsageError: the folder does not hold what its record says, or the Hub refuses.
        RunError: the Hub could not be reached, or kept failing; the same push, run again, continues.
    """
    return _commit(repository, Path(folder), kind, *kind.collect(Path(folder)), message=message or kind.message)


def push(folder: str | Path, repo_id: str, **options: Any) -> str:
    """Publishes whatever a folder of smi_hf holds; arguments, result and errors are those of `push_dataset`."""
    return _push(folder, repo_id, _kind_of(Path(folder)), **options)


def push_dataset(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> str:
    """Publishes a dataset folder as a dataset repository, in one commit: readers see the whole set, or the one before.

    Shards that the Hub has already are not sent again, so a push that was cut off is continued by the same call.

    Args:
        folder: a complete dataset folder.
        repo_id: "namespace/name", or a name in the token's own namespace; made if it does not exist.
        private: of a repository that is made.
        revision: branch to commit to; made if it does not exist.
        create_pr: open a pull request instead.
        token: access token; that of `hf auth login` or HF_TOKEN if None.

    Returns:
        Address of the commit or pull request.

    Raises:
        UsageError: the folder holds no complete sparse dataset, the Hub refuses, or the repository holds other things.
        RunError: the Hub could not be reached, or kept failing.
    """
    return _push(folder, repo_id, DATASET, private=private, revision=revision, create_pr=create_pr, token=token)


def _push(folder: str | Path, repo_id: str, kind: Kind, **options: Any) -> str:
    check_name(repo_id)
    # Before the Hub is asked: no repository must be made for what cannot be pushed.
    record, files = kind.collect(Path(folder))
    return _commit(open_for(kind, repo_id, **options), Path(folder), kind, record, files, message=kind.message)


def _commit(
    repository: Repository, folder: Path, kind: Kind, record: Any, files: dict[str, Path], *, message: str
) -> str:
    """The files with record and card, whose examples name the repository; returns the address."""
    card = {CARD_FILE: str(kind.render(record, repo_id=repository.repo_id)).encode()}
    contents = card | {record.file_name: folder / record.file_name} | files
    commit = repository.commit(contents, message=message, stale=kind.stale)
    return commit.pr_url or commit.commit_url


def _kind_of(folder: Path) -> Kind:
    for kind in KINDS:
        if (folder / kind.record.file_name).is_file():
            return kind
    raise UsageError(f"{folder} holds nothing to push; give a folder that smi-hf invert, quantize or distill wrote")
