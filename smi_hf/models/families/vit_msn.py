"""ViT-MSN: one CLS token."""

from smi_hf.models.families.base import ViTFamily, register_family

register_family("vit_msn", ViTFamily(backbone="vit"))
