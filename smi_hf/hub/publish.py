"""Uploading a finished dataset folder to the Hub."""

from pathlib import Path

from huggingface_hub import HfApi

from smi_hf.data.card import render_card
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import CARD_FILE, DATA_FOLDER, PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.errors import UsageError

# Nothing else of the folder is published.
_PUBLISHED = [f"{DATA_FOLDER}/train-*.parquet", RECORD_FILE, PREVIEW_FILE, STAGES_FILE]


def push_dataset(
    folder: str | Path, repo_id: str, *, private: bool = False, revision: str | None = None, token: str | None = None
) -> str:
    """Publishes a dataset folder as a dataset repository, the card in a commit of its own.

    Args:
        folder: a complete dataset folder.
        repo_id: "user/name" on the Hub; made if it does not exist.
        revision: branch to commit to.
        token: access token; the one of `hf auth login` if None.

    Returns:
        Address of the commit.

    Raises:
        UsageError: the folder holds no complete sparse dataset.
        huggingface_hub.errors.HfHubHTTPError: the Hub refuses.
    """
    folder = Path(folder)
    record = DatasetRecord.load(folder)
    if record.status != "complete":
        raise UsageError(f"{folder} is not complete: run the same smi-hf invert command again, then push")
    api = HfApi(token=token, library_name="smi_hf")
    api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    # The card names the repository, so it is rendered for it; it goes first, the images complete the set.
    card = render_card(record, repo_id=repo_id)
    api.upload_file(
        path_or_fileobj=str(card).encode(),
        path_in_repo=CARD_FILE,
        repo_id=repo_id,
        repo_type="dataset",
        revision=revision,
        commit_message="Add dataset card",
    )
    commit = api.upload_folder(
        folder_path=folder,
        allow_patterns=_PUBLISHED,
        repo_id=repo_id,
        repo_type="dataset",
        revision=revision,
        commit_message="Add sparse synthetic images",
    )
    return commit.commit_url
