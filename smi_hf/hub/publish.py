"""Publishing what a run made: exactly the files that its record lists, with a card, in one commit."""

import logging
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE
from smi_hf.errors import UsageError
from smi_hf.files import folder_made_whole
from smi_hf.hub.kinds import DATASET, MODEL, SPACE, Files, Kind, kind_of, space_files
from smi_hf.hub.repository import Repository, check_name, open_repository
from smi_hf.hub.spaces.record import SpaceRecord, describe_space
from smi_hf.json_record import JsonRecord

__all__ = ["DATASET", "MODEL", "open_for", "push", "push_to", "push_with_space", "write_publication"]

logger = logging.getLogger(__name__)


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> str:
    """Publishes a dataset or a model in one commit: readers see all of it, or what was there before.

    Only the files that the record in the folder lists are published. In the repository nothing is replaced or deleted
    except the card, the record, and what the record that is there lists. Large files that the Hub has already are not
    sent again, so a push that was cut off is continued by the same call.

    Args:
        folder: that `invert`, `quantize` or `distill` wrote; complete.
        repo_id: "namespace/name", or a name in the token's own namespace; made if it does not exist.
        private: of a repository that is made.
        revision: branch to commit to; made if it does not exist.
        create_pr: open a pull request instead.
        token: access token; that of `hf auth login` or HF_TOKEN if None.

    Returns:
        Address of the commit or pull request.

    Raises:
        UsageError: the folder holds nothing of ours or not what its record says, the Hub refuses, or the repository
            holds other things.
        RunError: the Hub could not be reached, or kept failing.
    """
    check_name(repo_id)
    kind = kind_of(Path(folder))
    # Before the Hub is asked: no repository must be made for what cannot be pushed.
    record, files = _collect(Path(folder), kind)
    repository = open_for(kind, repo_id, private=private, revision=revision, create_pr=create_pr, token=token)
    return _commit(repository, kind, record, files, message=kind.message)


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
    repository.check_is_ours(kind)
    return repository


def push_to(repository: Repository, folder: str | Path, kind: Kind, *, message: str | None = None) -> str:
    """Publishes a folder in a repository that `open_for` opened; returns the address of the commit or pull request.

    Args:
        message: of the commit; that of the kind if None.

    Raises:
        UsageError: the folder does not hold what its record says, or the Hub refuses.
        RunError: the Hub could not be reached, or kept failing; the same push, run again, continues.
    """
    record, files = _collect(Path(folder), kind)
    return _commit(repository, kind, record, files, message=message or kind.message)


def push_with_space(
    folder: str | Path,
    repo_id: str,
    space_id: str,
    *,
    space_dataset: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> tuple[str, str]:
    """Publishes a dataset or a model as `push` does, and a Gradio Space that shows it, a commit each.

    The Space shows the images of the dataset, and the answers of the model to a user's own picture. It loads both from
    the Hub with stock libraries, in the versions that the record names. A Space that smi_hf did not make stays as it
    is.

    Args:
        folder, repo_id, revision, token: as for `push`.
        space_id: repository of the Space: "namespace/name", or a name in the token's own namespace.
        space_dataset: repository of the images that a model was made with, to be shown beside it; the one that the
            record names if None.
        private: of repositories that are made.

    Returns:
        Addresses of the two commits.

    Raises:
        UsageError, RunError: as `push`; no stock library loads the model, or the images are not those of the model.
    """
    check_name(repo_id)
    check_name(space_id)
    kind = kind_of(Path(folder))
    record, files = _collect(Path(folder), kind)
    describe_space(record, repo_id, revision=revision, space_dataset=space_dataset)
    repository = open_for(kind, repo_id, private=private, revision=revision, token=token)
    space_repository = open_for(SPACE, space_id, private=private, token=token)
    if space_dataset is not None:
        _check_made_with(record, repository, space_dataset)
    space = describe_space(record, repository.repo_id, revision=revision, space_dataset=space_dataset)
    _log_unseen(space)
    return (
        _commit(repository, kind, record, files, message=kind.message),
        _commit(space_repository, SPACE, space, space_files(space), message=SPACE.message),
    )


def write_publication(
    folder: str | Path,
    repo_id: str,
    output_dir: str | Path,
    *,
    space_id: str | None = None,
    space_dataset: str | None = None,
    revision: str | None = None,
) -> list[Path]:
    """Writes what `push` or `push_with_space` would publish, and asks the Hub nothing.

    Args:
        folder, repo_id, space_id, space_dataset, revision: as for these; the names with their namespace.
        output_dir: new folder, in which each repository becomes one: `models/me/deit-int8`, `spaces/me/demo`.

    Returns:
        The folders of the repositories.

    Raises:
        UsageError: it could not be published, or `output_dir` exists.
    """
    for name in filter(None, (repo_id, space_id)):
        check_name(name)
        if "/" not in name:
            raise UsageError(f"{name!r} has no namespace, and the Hub is not asked for yours; give namespace/{name}")
    kind = kind_of(Path(folder))
    record, files = _collect(Path(folder), kind)
    places = {Path(f"{kind.repo_type}s", repo_id): _with_card(kind, record, files, repo_id)}
    if space_id is not None:
        space = describe_space(record, repo_id, revision=revision, space_dataset=space_dataset)
        _log_unseen(space)
        places[Path("spaces", space_id)] = _with_card(SPACE, space, space_files(space), space_id)
    with folder_made_whole(Path(output_dir)) as work:
        for place, contents in places.items():
            for name, file in contents.items():
                (work / place / name).parent.mkdir(parents=True, exist_ok=True)
                with file.as_file() as source, open(work / place / name, "xb") as target:
                    shutil.copyfileobj(source, target)
    return [Path(output_dir) / place for place in places]


def _check_made_with(record: JsonRecord, repository: Repository, space_dataset: str) -> None:
    """Checks that a dataset on the Hub is what a model was made with.

    Raises:
        UsageError: it is not, or there is none.
    """
    text = repository.read_elsewhere(space_dataset, DATASET.record.file_name, repo_type=DATASET.repo_type)
    if text is None:
        raise UsageError(
            f"space_dataset {space_dataset!r} is no dataset of smi_hf on the Hub that this token may read; push it "
            f"first, and give it as namespace/name"
        )
    images = DatasetRecord.from_json(text, f"space_dataset {space_dataset!r}")
    if images.results.get("content_sha256") not in {each.content_sha256 for each in record.datasets}:
        names = ", ".join(each.name for each in record.datasets)
        raise UsageError(
            f"space_dataset {space_dataset!r} holds other images than those that the model was made with ({names}); "
            f"give the repository of these"
        )


def _log_unseen(space: SpaceRecord) -> None:
    if space.dataset is None:
        logger.warning("the Space shows no images, as those of the model are not on the Hub: push them, and name them")
    if space.model is None:
        logger.warning("the Space shows images alone, as the model that they were made with is not on the Hub")


def _collect(folder: Path, kind: Kind) -> tuple[JsonRecord, Files]:
    """Record and files of a folder; the record is known to make a card."""
    record, files = kind.collect(folder)
    try:
        kind.render(record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Settings and results are free to hold anything.
        raise UsageError(
            f"{folder / record.file_name} lacks what its card says ({type(error).__name__}: {error}); make the "
            f"{record.noun} again"
        ) from error
    return record, files


def _commit(repository: Repository, kind: Kind, record: JsonRecord, files: Files, *, message: str) -> str:
    """The files with record and card, whose examples name the repository; returns the address."""
    commit = repository.commit(_with_card(kind, record, files, repository.repo_id), kind=kind, message=message)
    return commit.pr_url or commit.commit_url


def _with_card(kind: Kind, record: JsonRecord, files: Files, repo_id: str) -> Files:
    """All that a repository gets."""
    texts = {CARD_FILE: str(kind.render(record, repo_id=repo_id)), record.file_name: record.to_json()}
    return {name: CommitOperationAdd(name, text.encode()) for name, text in texts.items()} | files
