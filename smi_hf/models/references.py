"""What records say of a checkpoint: its name, never its path."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smi_hf.json_record import checked

# The kind of an embedding head whose directions are texts about labels.
ZERO_SHOT = "zero-shot"
# What embeddings are read off, and how.
EmbeddingOutput = Literal["image_embeds", "pooler_output", "last_hidden_state"]
Pooling = Literal["given", "first", "patches"]


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
class HeadReference:
    """What makes a classifier of an image tower or a backbone, as a record names it.

    Args:
        sha256: of all that decides the logits (`EmbeddingHead.sha256`).
        kind: as of `EmbeddingHead`: "zero-shot", or where directions come from.
        model_class: that transformers has of the bare model.
        output, pooling, num_prefix: how embeddings are read off its output (`Reading`).
    """

    sha256: str
    kind: str
    model_class: str
    output: EmbeddingOutput
    pooling: Pooling
    num_prefix: int = 0

    def __post_init__(self) -> None:
        # It stands in the code of cards.
        if not self.model_class.isidentifier():
            raise ValueError(f"model_class is {self.model_class!r}, which is no name of a class")

    @property
    def has_labels(self) -> bool:
        """Whether what is told apart means something to people."""
        return self.kind == ZERO_SHOT


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
        head: what makes a classifier of an image tower or a backbone; None of a classifier.
    """

    name: str
    revision: str | None
    model_type: str | None
    weights_sha256: str | None
    license: License | None = None
    head: HeadReference | None = None

    @property
    def head_sha256(self) -> str | None:
        """Digest of the head, None of a classifier."""
        return None if self.head is None else self.head.sha256


def recorded_name(name_or_path: str) -> str:
    """What a record calls a checkpoint: its Hub id, or the name of its folder, never a path of this machine."""
    return Path(name_or_path).resolve().name if is_local(name_or_path) else name_or_path


def is_local(name_or_path: str) -> bool:
    """Whether it names a folder here and not a repository on the Hub, `name` or `owner/name`."""
    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    # Not Path.exists(), which raises for a name that is too long.
    return looks_like_path or os.path.exists(name_or_path)
