"""A model family: a ViT with classes of its own, which transformers is told of here too.

smi_hf imports this file when a checkpoint's config.json says `"model_type": "house_vit"`.
"""

from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from smi_hf.models.families.base import ViTFamily, register_family


class HouseViTConfig(ViTConfig):
    model_type = "house_vit"


class HouseViTForImageClassification(ViTForImageClassification):
    """Yours may differ, as long as a patch's position enters through its own embedding alone."""

    config_class = HouseViTConfig


AutoConfig.register("house_vit", HouseViTConfig)
AutoModelForImageClassification.register(HouseViTConfig, HouseViTForImageClassification)
register_family("house_vit", ViTFamily(backbone="vit"))
