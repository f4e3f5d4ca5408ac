"""Small files that lie beside a checkpoint's weights: in its folder, or in its repository on the Hub."""

import logging
import os
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from smi_hf.models.loading import connection_errors

logger = logging.getLogger(__name__)

_SECONDS = 5


def find_beside(name_or_path: str, file_name: str, *, revision: str | None, max_bytes: int) -> Path | None:
    """A small file of a checkpoint; None if it has none, if it is larger, or if the Hub does not answer.

    Args:
        name_or_path: Hub id or folder.
        revision: commit on the Hub; without one, a Hub id is not looked up.
    """
    is_local = os.path.exists(name_or_path)
    if not is_local and revision is None:
        return None
    try:
        path = Path(name_or_path) / file_name if is_local else _from_hub(name_or_path, file_name, revision, max_bytes)
        return path if path is not None and path.is_file() and path.stat().st_size <= max_bytes else None
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, *connection_errors()) as error:
        # No network, no such file. What is missing must not stop the run.
        logger.debug("%s of %s could not be read: %s", file_name, name_or_path, error)
        return None


def _from_hub(repo: str, file_name: str, revision: str, max_bytes: int) -> Path | None:
    cached = try_to_load_from_cache(repo, file_name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None:
        # It is known that the repository has no such file.
        return None
    # Asked once whether the Hub answers at all: a download tries for half a minute, and shows every attempt.
    info = HfApi().model_info(repo, revision=revision, timeout=_SECONDS, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if sizes.get(file_name, max_bytes + 1) > max_bytes:
        return None
    return Path(hf_hub_download(repo, file_name, revision=revision, etag_timeout=_SECONDS))
