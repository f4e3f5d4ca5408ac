"""DINOv3: queries and keys are rotated by the positions of their patches (RoPE), which go with the kept ones.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `E` size of a head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from smi_hf.models.families.base import Positions, ViTFamily, register_family
from smi_hf.patches.grid import PatchGrid


class Dinov3Family(ViTFamily):
    """See the module."""

    def positions(self, model: PreTrainedModel, grid: PatchGrid) -> Sequence[Positions]:
        module = model.rope_embeddings
        weight = self.find_projection(model).weight

        def full() -> tuple[Tensor, Tensor]:
            black_1CHW = torch.zeros(1, weight.shape[1], *grid.image_size).to(weight)
            return type(module).forward(module, black_1CHW)

        return [Positions(module, full, _gathered)]


def _gathered(cos_sin_NE: tuple[Tensor, Tensor], kept_BK: Tensor) -> tuple[Tensor, ...]:
    """Cosine and sine of the kept patches, (B, 1, K, E), the same for every head."""
    return tuple(each_NE[kept_BK][:, None] for each_NE in cos_sin_NE)


register_family(
    "dinov3_vit", Dinov3Family(backbone="dinov3_vit", projection="patch_embeddings", interpolates_by_itself=True)
)
