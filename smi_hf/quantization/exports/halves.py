"""A classifier in two halves that are exported apart: the embeddings, and all that is behind them.

The second half takes any number of tokens, so that it can be calibrated on those of the kept patches, and what is
measured there holds for the whole.

Legend: `B` images, `T` tokens, `D` hidden size, `A` heads, `E` size of a head, `C` channels, `H W` image pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smi_hf.models.sparse import SparseClassifier, attention_implementation

_ATTENTION = "smi_hf_unmasked"


class Embeddings(nn.Module):
    """The embeddings of a classifier at its grid's image size, at the same place in the tree of modules.

    From normalized images (B, C, H, W) to tokens (B, T, D).
    """

    def __init__(self, model: SparseClassifier) -> None:
        super().__init__()
        self.backbone = model.family.backbone
        self.arguments = model.family.embeddings_arguments(model.config, model.grid.image_size)
        self.add_module(self.backbone, getattr(model.model, self.backbone))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return getattr(self, self.backbone).embeddings(pixel_values, **self.arguments)


@torch.no_grad()
def examples(model: SparseClassifier, batch_size: int = 2) -> tuple[Tensor, Tensor]:
    """Black images (B, C, H, W) and their tokens (B, T, D), for exporters that follow a forward pass."""
    pixels_BCHW = torch.zeros(batch_size, model.num_channels, *model.grid.image_size)
    return pixels_BCHW, model.embed(model.grid.cut(pixels_BCHW), model.grid.all_patches(batch_size))


@contextmanager
def positions_interpolated_once(embeddings: nn.Module) -> Iterator[None]:
    """While it lasts, positions are interpolated at the first forward, and are a constant in one that is traced.

    DINOv2 would do it anew for each batch; and where OpenVINO folds that into a constant, it antialiases differently
    from PyTorch, which moves logits in the fourth digit.
    """
    interpolate = embeddings.interpolate_pos_encoding
    positions: list[Tensor] = []

    def remember(*args: object) -> Tensor:
        if not positions:
            positions.append(interpolate(*args))
        return positions[0]

    embeddings.interpolate_pos_encoding = remember
    try:
        yield
    finally:
        del embeddings.interpolate_pos_encoding


@contextmanager
def unmasked_attention(model: SparseClassifier) -> Iterator[None]:
    """While it lasts, the model attends by two products and a softmax.

    For transformers 5, which in an export makes a mask of ones for each of its own implementations, and adds it.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _attend)
    with attention_implementation(model.model, _ATTENTION):
        yield


def _attend(
    module: nn.Module,
    query_BATE: Tensor,
    key_BATE: Tensor,
    value_BATE: Tensor,
    attention_mask: None = None,
    *,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    assert attention_mask is None, "transformers masks patches"
    scores_BATT = (query_BATE @ key_BATE.transpose(2, 3) * scaling).softmax(dim=-1)
    return (scores_BATT @ value_BATE).transpose(1, 2).contiguous(), None
