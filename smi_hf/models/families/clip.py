"""CLIP: image towers, whose embeddings are compared with those of texts, and classifiers over the mean of patches.

The CLS token is read by a tower, the mean of the patches by `CLIPForImageClassification`.
"""

from typing import Any

from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    PretrainedConfig,
    PreTrainedModel,
)

from smi_hf.models.embeddings import Reading
from smi_hf.models.families.base import ReadFrom, ViTFamily, register_family


class ClipFamily(ViTFamily):
    """See the module."""

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        return "patches" if hasattr(model, "classifier") else "cls"

    def bare_class(self, config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
        if "CLIPVisionModel" in (config.architectures or ()):
            return CLIPVisionModel, {}
        if not hasattr(config, "vision_config"):
            return CLIPVisionModelWithProjection, {}
        # The size of the space that both towers share; the image tower's own configuration may say another.
        tower = {**config.vision_config.to_dict(), "projection_dim": config.projection_dim}
        tower.pop("model_type", None)
        return CLIPVisionModelWithProjection, {"config": CLIPVisionConfig(**tower)}

    def reading(self, model: PreTrainedModel, num_prefix: int) -> Reading:
        return Reading("image_embeds" if hasattr(model, "visual_projection") else "pooler_output", "given")


# transformers 4 interpolates positions in towers alone.
register_family("clip", ClipFamily(backbone="vision_model", projection="patch_embedding", can_interpolate=False))
