"""ViT, and DeiT without a distillation token: one CLS token."""

from smi_hf.models.families.base import ViTFamily, register_family

register_family("vit", ViTFamily(backbone="vit", bare_options=(("add_pooling_layer", False),)))
