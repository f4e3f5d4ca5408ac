"""Publishing what a run made: exactly its files, with a card for the repository, in one commit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smi_hf.data.card import render_card
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE, DATA_FOLDER, PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.errors import UsageError
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord, file_sha256
from smi_hf.hub.cards import render_model_card
from smi_hf.hub.repository import Repository, check_name, open_repository

Contents = dict[str, Path | bytes]


@dataclass(frozen=True)
class Kind:
    """What can be published.

    Args:
        repo_type: "dataset" or "model".
        name: in words.
        marker: file that everything of this kind has: its record.
        stale: patterns of files in a repository that a push replaces as a whole.
        contents: from a folder and the repository's id to what is published of it.
        message: of the commit.
    """

    repo_type: str
    name: str
    marker: str
    stale: tuple[str, ...]
    contents: Callable[[Path, str], Contents]
    message: str


def _dataset_contents(folder: Path, repo_id: str) -> Contents:
    """Record, shards, pictures, and a card that names the repository; nothing else that lies in the folder.

    Raises:
        UsageError: it holds no complete sparse dataset, or its shards are not those that the run wrote.
    """
    record = DatasetRecord.load(folder)
    if record.status != "complete":
        raise UsageError(f"{folder} is not complete: run the same smi-hf invert command again, then push")
    writer = SparseDatasetWriter(folder, record)
    if writer.content_sha256() != record.results["content_sha256"]:
        raise UsageError(
            f"the shards in {folder / DATA_FOLDER} are not those that {RECORD_FILE} was written for: some were added, "
            f"removed or changed since; put them back, or make the dataset again"
        )
    pictures = (path for path in (folder / PREVIEW_FILE, folder / STAGES_FILE) if path.is_file())
    return {
        CARD_FILE: str(render_card(record, repo_id=repo_id)).encode(),
        RECORD_FILE: folder / RECORD_FILE,
        **{path.name: path for path in pictures},
        **{f"{DATA_FOLDER}/{path.name}": path for path in writer.shards()},
    }


DATASET = Kind(
    repo_type="dataset",
    name="sparse dataset",
    marker=RECORD_FILE,
    stale=(f"{DATA_FOLDER}/*.parquet", PREVIEW_FILE, STAGES_FILE),
    contents=_dataset_contents,
    message="Sparse synthetic images",
)


def _model_contents(folder: Path, repo_id: str) -> Contents:
    """Record, the files that it names, pictures, and a card that names the repository.

    Raises:
        UsageError: it holds no model of smi_hf, or its files are not those that the run wrote.
    """
    record = ModelRecord.load(folder)
    if not record.files:
        raise UsageError(f"{folder / RESULTS_FILE} does not say which files the model is made of; make it once more")
    for name, digest in record.files.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != digest:
            reason = "was changed since" if path.is_file() else "is gone"
            raise UsageError(
                f"{path} {reason}, and {RESULTS_FILE} is the record of the model as it was; make it once more"
            )
    return {
        CARD_FILE: str(render_model_card(record, repo_id=repo_id)).encode(),
        RESULTS_FILE: folder / RESULTS_FILE,
        **{name: folder / name for name in (*record.files, *record.pictures)},
    }


MODEL = Kind(
    repo_type="model",
    name="model of smi_hf",
    marker=RESULTS_FILE,
    # Weights of the model before, under other names.
    stale=("*.safetensors", "*.index.json", "*.onnx", "*.onnx_data", "openvino_model.*", "*.png"),
    contents=_model_contents,
    message="Model compressed without data",
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
    repository.check_is_ours(kind.marker, kind.name)
    return repository


def push_to(repository: Repository, folder: str | Path, kind: Kind, *, message: str | None = None) -> str:
    """Publishes a folder in a repository that `open_for` opened; returns the address of the commit or pull request.

    Args:
        message: of the commit; that of the kind if None.

    Raises:
        UsageError: the folder does not hold what its record says, or the Hub refuses.
        RunError: the Hub could not be reached, or kept failing; the same push, run again, continues.
    """
    contents = kind.contents(Path(folder), repository.repo_id)
    commit = repository.commit(contents, message=message or kind.message, stale=kind.stale)
    return commit.pr_url or commit.commit_url


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
    kind.contents(Path(folder), repo_id)
    return push_to(open_for(kind, repo_id, **options), folder, kind)


def _kind_of(folder: Path) -> Kind:
    for kind in KINDS:
        if (folder / kind.marker).is_file():
            return kind
    raise UsageError(f"{folder} holds nothing to push; give a folder that smi-hf invert, quantize or distill wrote")
