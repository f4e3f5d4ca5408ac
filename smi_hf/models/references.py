"""What records say of a checkpoint: its name, never its path."""

import os
from dataclasses import dataclass
from pathlib import Path

from smi_hf.json_record import checked


@checked
@dataclass(frozen=True)
class License:
    """The license that a checkpoint's card states.

    Args:
        id: as the Hub writes it, or several.
        name, link: what the Hub wants beside the id `other`, else None.
    """

    id: str | list[str]
    name: str | None = None
    link: str | None = None


@checked
@dataclass(frozen=True)
class CheckpointReference:
    """A checkpoint, as a record names it.

    Args:
        name: Hub id, or the folder's name for a local checkpoint.
        revision: commit on the Hub, None for a local checkpoint.
        model_type: of its configuration.
        weights_sha256: digest of its weights (`Teacher.weights_sha256`). It and `model_type` are None of several
            checkpoints (a concatenated dataset).
        license: None if it is unknown.
    """

    name: str
    revision: str | None
    model_type: str | None
    weights_sha256: str | None
    license: License | None = None


def recorded_name(name_or_path: str) -> str:
    """What a record calls a checkpoint: its Hub id, or the name of its folder, never a path of this machine."""
    return Path(name_or_path).resolve().name if is_local(name_or_path) else name_or_path


def is_local(name_or_path: str) -> bool:
    """Whether it names a folder here and not a repository on the Hub, `name` or `owner/name`."""
    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    # Not Path.exists(), which raises for a name that is too long.
    return looks_like_path or os.path.exists(name_or_path)
