"""SigLIP: image towers that pool patches by a query of their own, and classifiers over the mean of patches.

There is no CLS token. Checkpoints of SigLIP 2 of one image size are of this type, too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, SiglipVisionModel

from smi_hf.models.embeddings import Reading
from smi_hf.models.families.base import ReadFrom, ViTFamily, register_family


class SiglipFamily(ViTFamily):
    """See the module."""

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        return "patches" if self._pooling_head(model) is None else "query"

    def mlps_beside(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        head = getattr(self.find_backbone(model), "head", None)
        return [] if head is None else [head.mlp]

    @contextmanager
    def attention_of_query(self, model: PreTrainedModel) -> Iterator[list[Tensor]]:
        seen: list[Tensor] = []
        # PyTorch's own attention module returns weights, (B, 1, K), averaged over heads.
        handle = self._pooling_head(model).attention.register_forward_hook(
            lambda module, arguments, output: seen.append(output[1][:, 0])
        )
        try:
            yield seen
        finally:
            handle.remove()

    def bare_class(self, config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
        return SiglipVisionModel, {"config": config.vision_config} if hasattr(config, "vision_config") else {}

    def reading(self, model: PreTrainedModel, num_prefix: int) -> Reading:
        if self._pooling_head(model) is None:
            return super().reading(model, num_prefix)
        return Reading("pooler_output", "given")

    def _pooling_head(self, model: PreTrainedModel) -> nn.Module | None:
        # Classifiers have the head of their backbone, and do not read it.
        return None if hasattr(model, "classifier") else getattr(self.find_backbone(model), "head", None)


register_family("siglip", SiglipFamily(backbone="vision_model", projection="patch_embedding"))
