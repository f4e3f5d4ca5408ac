"""A sparse dataset on the Hub: its record and its rows, of one commit."""

from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.data.parquet import READ_ERRORS
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import RECORD_FILE
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.nearby import nearest_path

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

_SECONDS = 10


def rows_from_hub(repo: str, commit: str, streaming: bool) -> "Dataset | IterableDataset":
    """Rows of the commit that the record is of, whatever is pushed in between.

    Raises:
        UsageError: they cannot be read.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(repo, revision=commit, split="train", streaming=streaming)
    except (DatasetsError, *READ_ERRORS) as error:
        # The cause says more than "An error occurred while generating the dataset".
        reason = one_line(error.__cause__ or error)
        raise UsageError(f"dataset {repo} cannot be read: {reason}") from error


def record_from_hub(repo: str, revision: str | None) -> tuple[DatasetRecord, str]:
    """The record of a dataset on the Hub, and the commit that it is of.

    Raises:
        UsageError: it is not there, no sparse dataset, or the Hub cannot be reached; names what lies near it here.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        path = hf_hub_download(
            repo,
            RECORD_FILE,
            repo_type="dataset",
            revision=revision,
            local_files_only=not _is_reachable(repo, revision),
        )
    except LocalEntryNotFoundError as error:
        raise UsageError(
            f"dataset {repo!r} is not a folder here{nearest_path(repo)}, not in the local cache, and the Hub could "
            f"not be reached; check the name and the network"
        ) from error
    except EntryNotFoundError as error:
        raise UsageError(f"dataset {repo!r} is not a sparse dataset: it has no {RECORD_FILE}") from error
    except RevisionNotFoundError as error:
        raise UsageError(f"dataset {repo!r} has no revision {revision!r} on the Hub") from error
    except RepositoryNotFoundError as error:
        hint = "; there is a model of this name, but a sparse dataset is needed" if _is_model(repo) else ""
        raise UsageError(
            f"dataset {repo!r} is neither a folder here{nearest_path(repo)} nor a dataset on the Hub that you may "
            f"see{hint}; check the name, and log in with `hf auth login` if it is private"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        near = nearest_path(repo)
        raise UsageError(
            f"dataset {repo!r} is neither a folder here{near} nor on the Hub: {one_line(error)}"
        ) from error
    # Cached under the commit's name.
    return DatasetRecord.from_json(Path(path).read_text("utf-8", "replace"), f"{repo}/{RECORD_FILE}"), Path(
        path
    ).parent.name


def head_from_hub(repo: str, commit: str) -> Path | None:
    """The embedding head in a dataset's repository; None if it has none.

    Raises:
        UsageError: the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, HEAD_FILE, repo_type="dataset", revision=commit))
    except LocalEntryNotFoundError as error:
        raise UsageError(
            f"{HEAD_FILE} of dataset {repo!r} is not in the local cache, and the Hub could not be reached"
        ) from error
    except EntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise UsageError(f"{HEAD_FILE} of dataset {repo!r} cannot be read: {one_line(error)}") from error


def _is_model(repo: str) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().repo_exists(repo, repo_type="model")
    except HfHubHTTPError:
        return False


def _is_reachable(repo: str, revision: str | None) -> bool:
    """Whether the Hub answers, asked once: a download asks again for half a minute, and shows every attempt."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from smi_hf.models.loading import connection_errors

    try:
        HfApi().dataset_info(repo, revision=revision, timeout=_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        return True  # What is wrong, the download says.
    except connection_errors():
        return False
    return True
