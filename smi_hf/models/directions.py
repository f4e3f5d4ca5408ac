"""Targets in the embedding space of a backbone that tells no classes apart: directions that spread over it.

Legend: `M` directions, `D` size of an embedding, `n` pictures.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from smi_hf.errors import UsageError
from smi_hf.models.embeddings import EmbeddingHead, Reading

# Of the softmax over directions: that of CLIP (arXiv 2103.00020, section 2.5), which saw cosines of one space as well.
_SCALE = 100.0
MAX_DIRECTIONS = 10_000
# Directions of no pictures.
RANDOM, ORTHOGONAL = "random", "orthogonal"


def direction_head(
    size: int,
    reading: Reading,
    count: int,
    *,
    kind: str,
    seed: int = 0,
    embed: Callable[[int], Tensor] | None = None,
) -> EmbeddingHead:
    """A head of directions of unit length, named "direction 0" and so on.

    Args:
        size: D.
        reading: how embeddings are read off the model.
        count: M.
        kind: "random" directions; "orthogonal" ones, at most D; or as the name of a start: where the embeddings of so
            many of its pictures lie from their mean, which is taken off every embedding.
        seed: of random numbers.
        embed: embeddings (M, D) of so many pictures, for kinds that are starts.

    Raises:
        UsageError: there are too few or too many directions, or all pictures have the same embedding.
    """
    if not 2 <= count <= MAX_DIRECTIONS:
        raise UsageError(f"directions must be from 2 to {MAX_DIRECTIONS}, but {count} was given")
    center_D = None
    if kind in (RANDOM, ORTHOGONAL):
        if kind == ORTHOGONAL and count > size:
            raise UsageError(
                f"{count} directions cannot be orthogonal in the {size} dimensions of this model's embeddings; give "
                f"at most {size}, or directions_from random"
            )
        drawn = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        directions_MD = torch.linalg.qr(drawn.T).Q.T if kind == ORTHOGONAL else drawn
    else:
        assert embed is not None, "directions of pictures need a function that embeds them"
        embeddings_MD = embed(count).double()
        center_D = embeddings_MD.mean(dim=0)
        directions_MD = embeddings_MD - center_D
        if not directions_MD.norm(dim=1).gt(1e-9 * embeddings_MD.norm()).all():
            raise UsageError(
                f"the model gives pictures of {kind} the same embedding, so they show no directions; choose another "
                f"kind with directions_from"
            )
    names = [f"direction {number}" for number in range(count)]
    return EmbeddingHead(directions_MD, names, reading, kind=kind, scale=_SCALE, center_D=center_D)
