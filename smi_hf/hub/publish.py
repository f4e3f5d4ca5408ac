"""Publishing what a run made: exactly the files that its record lists, with a card, in one commit."""

from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd

from smi_hf.data.schema import CARD_FILE
from smi_hf.errors import UsageError
from smi_hf.hub.kinds import DATASET, MODEL, Files, Kind, kind_of
from smi_hf.hub.repository import Repository, check_name, open_repository
from smi_hf.json_record import JsonRecord

__all__ = ["DATASET", "MODEL", "open_for", "push", "push_to"]


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
    card = str(kind.render(record, repo_id=repository.repo_id))
    texts = {CARD_FILE: card, record.file_name: record.to_json()}
    written = {name: CommitOperationAdd(name, text.encode()) for name, text in texts.items()}
    commit = repository.commit(written | files, kind=kind, message=message)
    return commit.pr_url or commit.commit_url
