"""Image towers and backbones as classifiers: an embedding is compared with one direction per label.

Legend: `B` images, `L` labels, `D` size of an embedding, `T` tokens.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smi_hf.errors import UsageError
from smi_hf.files import one_line, replaced_atomically
from smi_hf.models.references import ZERO_SHOT, EmbeddingOutput, HeadReference, Pooling

HEAD_FILE = "embedding_head.safetensors"
_MAX_BYTES = 1 << 30
_METADATA_KEY = "smi_hf"


@dataclass(frozen=True)
class Reading:
    """How the embedding of an image is read off what a model returns.

    Args:
        output: its name there: "image_embeds", "pooler_output" or "last_hidden_state".
        pooling: "given" as it is, (B, D); "first" token or mean of the "patches" of (B, T, D).
        num_prefix: tokens before the patches, where these are pooled.

    Raises:
        UsageError: it is none of these.
    """

    output: EmbeddingOutput
    pooling: Pooling
    num_prefix: int = 0

    def __post_init__(self) -> None:
        is_known = self.output in get_args(EmbeddingOutput) and self.pooling in get_args(Pooling)
        if not is_known or type(self.num_prefix) is not int:
            raise UsageError(f"an embedding is not read off like this: {self}; make the head again")

    def __call__(self, value: Any) -> Any:
        """Embeddings (B, D) of that output, a tensor or an array."""
        if self.pooling == "first":
            return value[:, 0]
        return value[:, self.num_prefix :].mean(1) if self.pooling == "patches" else value


class EmbeddingHead(nn.Module):
    """Logits of embeddings: `scale * cosine(embedding - center, direction) + bias`, one direction per label.

    With text embeddings of names for directions it is the zero-shot classifier of CLIP and SigLIP.

    Args:
        directions_LD: of any length; kept at length 1, in float32.
        names: of the labels.
        reading: how embeddings are read off the model.
        kind: where the directions come from: "zero-shot", or as `smi_hf.models.directions` calls it.
        scale, bias: of the logits.
        center_D: what is taken off embeddings first; nothing if None.
        prompts: texts of each label that the directions were made of; empty if they were not.

    Raises:
        UsageError: shapes do not agree, or a direction is not finite, or nothing.
    """

    def __init__(
        self,
        directions_LD: Tensor,
        names: Sequence[str],
        reading: Reading,
        *,
        kind: str,
        scale: float = 1.0,
        bias: float = 0.0,
        center_D: Tensor | None = None,
        prompts: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        directions_LD = directions_LD.detach().float()
        if directions_LD.ndim != 2 or len(directions_LD) != len(names) or len(names) < 2:
            raise UsageError(
                f"an embedding head has directions of shape {tuple(directions_LD.shape)} and {len(names)} names; one "
                f"direction per name is needed, and at least two"
            )
        lengths_L = directions_LD.norm(dim=1)
        if not directions_LD.isfinite().all() or (lengths_L == 0).any():
            raise UsageError("a direction of an embedding head is zero or not finite; make the head again")
        center_D = torch.zeros(directions_LD.shape[1]) if center_D is None else center_D.detach().float()
        if center_D.shape != directions_LD.shape[1:] or not center_D.isfinite().all():
            raise UsageError(
                f"an embedding head has a center of shape {tuple(center_D.shape)} for directions of "
                f"{directions_LD.shape[1]} numbers, or one that is not finite; make the head again"
            )
        self.register_buffer("directions_LD", directions_LD / lengths_L[:, None])
        self.register_buffer("center_D", center_D)
        self.names = tuple(names)
        self.reading = reading
        self.kind = kind
        self.scale = float(scale)
        self.bias = float(bias)
        self.prompts = tuple(map(tuple, prompts))

    @property
    def size(self) -> int:
        """D."""
        return self.directions_LD.shape[1]

    @property
    def has_labels(self) -> bool:
        """Whether its labels mean something to people, so that accuracy on labeled images can be measured."""
        return self.kind == ZERO_SHOT

    def forward(self, embeddings_BD: Tensor) -> Tensor:
        """Logits (B, L) in float32, or in what is more precise."""
        if embeddings_BD.shape[-1] != self.size:
            raise UsageError(
                f"the model gives embeddings of {embeddings_BD.shape[-1]} numbers, but the embedding head is for "
                f"{self.size}; make a head for this model (labels or directions)"
            )
        precise = torch.promote_types(embeddings_BD.dtype, torch.float32)
        center_D, directions_LD = self.center_D.to(precise), self.directions_LD.to(precise)
        # Autocast would round the product again.
        with torch.autocast(embeddings_BD.device.type, enabled=False):
            cosines_BL = F.normalize(embeddings_BD.to(precise) - center_D, dim=1) @ directions_LD.T
            return self.scale * cosines_BL + self.bias

    @torch.no_grad()
    def logits(self, embeddings_BD: np.ndarray) -> np.ndarray:
        """As `forward`, of arrays."""
        return self(torch.from_numpy(np.asarray(embeddings_BD, np.float32)).to(self.center_D.device)).cpu().numpy()

    def sha256(self) -> str:
        """A digest of all that decides the logits."""
        digest = hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode())
        for tensor in (self.directions_LD, self.center_D):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def reference(self, model: nn.Module) -> HeadReference:
        """What a record says of it and of the bare model that it is for."""
        reading = self.reading
        return HeadReference(
            self.sha256(), self.kind, type(model).__name__, reading.output, reading.pooling, reading.num_prefix
        )

    def save(self, folder: Path) -> Path:
        """Writes `embedding_head.safetensors` into a folder: `directions` (L, D) and `center` (D,), and facts."""
        from safetensors.torch import save_file

        path = folder / HEAD_FILE
        with replaced_atomically(path) as temporary:
            save_file(
                {"directions": self.directions_LD.cpu().contiguous(), "center": self.center_D.cpu().contiguous()},
                temporary,
                metadata={_METADATA_KEY: json.dumps(self._facts())},
            )
        return path

    @classmethod
    def load(cls, path: Path) -> "EmbeddingHead":
        """The head of a file that `save` wrote.

        Raises:
            UsageError: it is none.
        """
        from safetensors import SafetensorError, safe_open

        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[_METADATA_KEY])
                directions_LD, center_D = file.get_tensor("directions"), file.get_tensor("center")
            reading = Reading(**facts.pop("reading"))
            head = cls(directions_LD, facts.pop("names"), reading, center_D=center_D, **facts)
            # Those of length 1 divided by their length once more may differ in the last bit, and so in the digest.
            if directions_LD.dtype == torch.float32 and torch.allclose(head.directions_LD, directions_LD):
                head.directions_LD = directions_LD
            return head
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"{path} is no embedding head of smi_hf ({type(error).__name__}: {one_line(error)}); make it again"
            ) from error

    def _facts(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "reading": asdict(self.reading),
            "kind": self.kind,
            "scale": self.scale,
            "bias": self.bias,
            "prompts": [list(texts) for texts in self.prompts],
        }


def as_head(head: EmbeddingHead | str | Path) -> EmbeddingHead:
    """A head that is ready, or that of its file, or of a folder that has one.

    Raises:
        UsageError: there is none.
    """
    if isinstance(head, EmbeddingHead):
        return head
    path = Path(head)
    return EmbeddingHead.load(path / HEAD_FILE if path.is_dir() else path)


def head_in(folder: Path) -> EmbeddingHead | None:
    """The head that lies in a folder; None if there is none."""
    return as_head(folder) if (folder / HEAD_FILE).is_file() else None
